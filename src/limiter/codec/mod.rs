//! Bytes of key states: rows of the store and entries of commit records. Written by hand and
//! pinned by golden vectors; every integer is little-endian, `varint` is LEB128 of at most 10 bytes.
//!
//! ```text
//! row    = crc32 (4; over the state id's 16 bytes, big-endian, and the rest of the row)
//!          version (1) expires_at_ms (8) body reservations
//! quarantine row = crc32 (4; as above) version 2 (1) expires_at_ms (8) since_ms (8)
//! body   = limit count (1), then for each limit:
//!          window_ms (varint) bucket_ms (varint) bucket count (varint),
//!          then for each bucket: start_ms / bucket_ms (varint) permits (varint)
//! reservations = count (varint), then for each:
//!          id (8) granted_at_ms (varint) cost (varint) expires_at_ms (varint)
//! ```
//!
//! A quarantine row stands in a state's place when its counts were lost: the key is denied until one
//! window has passed since. Under [`StateId::first_of`] a slot it says so of all keys of the slot.

mod listed;

pub(crate) use listed::Listed;

use super::key_state::KeyState;
use super::policy::{LIMITS_MAX, Limit, WINDOW_MS_MAX};
use super::reservation::{Open, RESERVATIONS_MAX, Reservations};
use super::shape::{Shape, Span};
use super::window::Bucket;
use crate::types::{Grant, ReservationId, SlotTime, StateId};

/// Version of the row format.
const ROW_VERSION: u8 = 1;

/// Version of the rows that say that a state is in quarantine.
const QUARANTINE_VERSION: u8 = 2;

/// Most buckets of one limit that a state holds.
const BUCKETS_MAX: u64 = 255;

/// Bytes that are not what they should be. Nothing of them may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// The checksum does not fit: the bytes were damaged, or belong to another state.
    #[error("its checksum does not fit")]
    Checksum,
    /// Written by a newer version of the software.
    #[error("its format version {0} is not known to this version of the software")]
    Version(u8),
    /// The bytes end too early, hold too much, or a value is out of bounds.
    #[error("its content is not well formed")]
    Content,
}

/// A state and what belongs to it, as read.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Windows and widths of the buckets.
    pub(crate) shape: Shape,
    /// Buckets limit by limit.
    pub(crate) buckets: Listed,
    /// Open reservations.
    pub(crate) reservations: Reservations,
    /// The counts were lost at this time; the rest is then empty.
    pub(crate) quarantined_since: Option<SlotTime>,
}

/// When the state in a stored row stops to count, read without checking the checksum; `None` if
/// the row is too short to say.
pub(crate) fn expires_at(row: &[u8]) -> Option<SlotTime> {
    let bytes = row.get(5..13)?;
    Some(SlotTime::from_ms(u64::from_le_bytes(
        bytes.try_into().ok()?,
    )))
}

/// The row of a state.
pub(crate) fn encode_row(
    id: StateId,
    state: &KeyState,
    shape: &Shape,
    reservations: &Reservations,
) -> Vec<u8> {
    let expires_at = state.expires_at(shape).max(reservations.expires_at());
    let mut row = Vec::with_capacity(64);
    row.extend_from_slice(&[0; 4]);
    row.push(ROW_VERSION);
    row.extend_from_slice(&expires_at.as_ms().to_le_bytes());
    put_body(&mut row, state, shape, SlotTime::ZERO);
    put_reservations(&mut row, reservations);
    let crc = row_checksum(id, row.get(4..).unwrap_or(&[]));
    if let Some(place) = row.first_chunk_mut() {
        *place = crc.to_le_bytes();
    }
    row
}

/// The row that says that the counts of `id` were lost at `since`.
pub(crate) fn quarantine_row(id: StateId, since: SlotTime) -> Vec<u8> {
    let expires_at = since.plus_ms(WINDOW_MS_MAX).plus_ms(1);
    let mut row = Vec::with_capacity(21);
    row.extend_from_slice(&[0; 4]);
    row.push(QUARANTINE_VERSION);
    row.extend_from_slice(&expires_at.as_ms().to_le_bytes());
    row.extend_from_slice(&since.as_ms().to_le_bytes());
    let crc = row_checksum(id, row.get(4..).unwrap_or(&[]));
    if let Some(place) = row.first_chunk_mut() {
        *place = crc.to_le_bytes();
    }
    row
}

/// Reads a row back.
pub(crate) fn decode_row(id: StateId, row: &[u8]) -> Result<Decoded, CodecError> {
    let (crc, rest) = row.split_first_chunk::<4>().ok_or(CodecError::Content)?;
    if u32::from_le_bytes(*crc) != row_checksum(id, rest) {
        return Err(CodecError::Checksum);
    }
    let mut bytes = Reader(rest);
    match bytes.byte()? {
        ROW_VERSION => {}
        QUARANTINE_VERSION => {
            bytes.take::<8>()?;
            let since = SlotTime::from_ms(u64::from_le_bytes(bytes.take()?));
            bytes.end()?;
            return Ok(Decoded {
                quarantined_since: Some(since),
                ..Decoded::default()
            });
        }
        version => return Err(CodecError::Version(version)),
    }
    bytes.take::<8>()?;
    let (shape, buckets) = bytes.body()?;
    let reservations = bytes.reservations()?;
    bytes.end()?;
    Ok(Decoded {
        shape,
        buckets,
        reservations,
        quarantined_since: None,
    })
}

fn row_checksum(id: StateId, rest: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&id.to_bytes());
    crc.update(rest);
    crc.finalize()
}

/// Appends the body of a state: of each limit the buckets that start, or could have been granted
/// in, at `since` or later.
pub(super) fn put_body(out: &mut Vec<u8>, state: &KeyState, shape: &Shape, since: SlotTime) {
    let spans = shape.spans();
    out.push(u8::try_from(spans.len()).unwrap_or(0));
    for (n, span) in spans.iter().enumerate() {
        put_varint(out, span.window_ms);
        put_varint(out, span.bucket_ms);
        let first = since
            .as_ms()
            .saturating_sub(span.bucket_ms.saturating_sub(1));
        let changed = state.buckets_since(n, SlotTime::from_ms(first));
        put_varint(
            out,
            changed
                .clone()
                .fold(0, |count: u64, _| count.saturating_add(1)),
        );
        for bucket in changed {
            put_varint(
                out,
                bucket
                    .start
                    .as_ms()
                    .checked_div(span.bucket_ms)
                    .unwrap_or(0),
            );
            put_varint(out, bucket.permits);
        }
    }
}

/// Appends reservations.
pub(super) fn put_reservations(out: &mut Vec<u8>, reservations: &Reservations) {
    put_varint(
        out,
        u64::try_from(reservations.entries().len()).unwrap_or(0),
    );
    for open in reservations.entries() {
        out.extend_from_slice(&open.id.0.to_le_bytes());
        put_varint(out, open.grant.at.as_ms());
        put_varint(out, open.grant.cost);
        put_varint(out, open.expires_at.as_ms());
    }
}

/// Appends a LEB128 integer.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Reads values off the front of bytes; every method fails rather than reads past the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.0.split_first().ok_or(CodecError::Content)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(CodecError::Content)?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, CodecError> {
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            let shifted = low << shift;
            if shifted >> shift != low {
                return Err(CodecError::Content);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Content)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn end(&self) -> Result<(), CodecError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Content)
        }
    }

    pub(super) fn body(&mut self) -> Result<(Shape, Listed), CodecError> {
        let limits = usize::from(self.byte()?);
        if !(1..=LIMITS_MAX).contains(&limits) {
            return Err(CodecError::Content);
        }
        let mut spans = [Span::default(); LIMITS_MAX];
        let mut listed = Listed::default();
        for (n, place) in spans.iter_mut().enumerate().take(limits) {
            let span = Span {
                window_ms: self.varint()?,
                bucket_ms: self.varint()?,
            };
            // The same bounds as for a limit that is written down.
            Limit::new(1, span.window_ms).ok_or(CodecError::Content)?;
            if !(1..=span.window_ms).contains(&span.bucket_ms) {
                return Err(CodecError::Content);
            }
            *place = span;
            self.buckets(span, n, &mut listed)?;
        }
        Ok((Shape::from_spans(spans.into_iter()), listed))
    }

    fn buckets(&mut self, span: Span, n: usize, listed: &mut Listed) -> Result<(), CodecError> {
        let count = self.varint()?;
        if count > BUCKETS_MAX {
            return Err(CodecError::Content);
        }
        let mut last = None;
        for _ in 0..count {
            let start = self
                .varint()?
                .checked_mul(span.bucket_ms)
                .ok_or(CodecError::Content)?;
            if last.is_some_and(|last| last >= start) {
                return Err(CodecError::Content);
            }
            last = Some(start);
            let bucket = Bucket {
                start: SlotTime::from_ms(start),
                permits: self.varint()?,
            };
            listed.push(n, bucket);
        }
        Ok(())
    }

    pub(super) fn reservations(&mut self) -> Result<Reservations, CodecError> {
        let count = self.varint()?;
        if count > RESERVATIONS_MAX as u64 {
            return Err(CodecError::Content);
        }
        (0..count).map(|_| self.reservation()).collect()
    }

    fn reservation(&mut self) -> Result<Open, CodecError> {
        Ok(Open {
            id: ReservationId(u64::from_le_bytes(self.take()?)),
            grant: Grant {
                at: SlotTime::from_ms(self.varint()?),
                cost: self.varint()?,
            },
            expires_at: SlotTime::from_ms(self.varint()?),
        })
    }
}

#[cfg(test)]
mod tests;
