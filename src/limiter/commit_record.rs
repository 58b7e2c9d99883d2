//! Commit records: everything that changed since the last commit, slot by slot, in absolute counts.
//!
//! ```text
//! record = crc32 (4; over the rest) version (1) number (8) stamp_ms (8: the node's clock)
//!          owner (16, little-endian: the node whose reigns the epochs below are)
//!          then a group for each slot that changed, to the end
//! group  = slot (2) epoch's counter (varint) n (varint: this slot's commits in this epoch)
//!          clock_ms (varint: what the slot's clock showed; not in version 2) length (4)
//!          length bytes of entries
//! entry  = state id (16, big-endian) kind (1) body [reservations, if kind is `WHOLE`]
//! ```
//!
//! A [`CHANGED`] entry sets the buckets it lists, a [`WHOLE`] one replaces the state. Since counts
//! are absolute, a record that is replayed twice does no harm. A group whose position is not above the
//! one that its slot was installed at is part of that state, or of one that was replaced since. See
//! [`super::codec`] for `body`.
//!
//! Groups are also what goes to replicas: cut out of the record as they are, and put into a record of
//! the replica's own. Version 2 is read, never written.

use super::codec::{CodecError, Decoded, Reader, put_body, put_reservations, put_varint};
use super::key_state::KeyState;
use super::reservation::Reservations;
use super::shape::Shape;
use crate::types::{Epoch, NodeId, Position, Slot, SlotTime, StateId};

const VERSION: u8 = 3;

/// Groups without a clock.
const VERSION_WITHOUT_CLOCKS: u8 = 2;

/// The listed buckets have these counts now; all others are as they were.
const CHANGED: u8 = 0;
/// The state is just this.
const WHOLE: u8 = 1;

const HEADER_BYTES: usize = 37;

/// Packs one commit record.
#[derive(Debug)]
pub(crate) struct RecordWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the record begins in `out`.
    from: usize,
    /// Where the length of the open slot group stands.
    group: Option<(Slot, usize)>,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record of `owner` at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>, number: u64, stamp: SlotTime, owner: NodeId) -> Self {
        let from = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(VERSION);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&stamp.as_ms().to_le_bytes());
        out.extend_from_slice(&owner.0.to_le_bytes());
        Self {
            out,
            from,
            group: None,
        }
    }

    /// Whether no entry was added yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.out.len().saturating_sub(self.from) == HEADER_BYTES
    }

    /// The slot whose group is open.
    pub(crate) fn open_slot(&self) -> Option<Slot> {
        self.group.map(|(slot, _)| slot)
    }

    /// Closes the open group and begins that of `slot`, whose state it brings to `at`, in a reign of
    /// the record's owner, and whose clock shows `clock`.
    pub(crate) fn begin_slot(&mut self, slot: Slot, at: Position, clock: SlotTime) {
        self.end_slot();
        self.out.extend_from_slice(&slot.number().to_le_bytes());
        put_varint(self.out, at.epoch.counter);
        put_varint(self.out, at.n);
        put_varint(self.out, clock.as_ms());
        self.group = Some((slot, self.out.len()));
        self.out.extend_from_slice(&[0; 4]);
    }

    /// Adds the buckets of a state that may have changed since `since`.
    pub(crate) fn changed(
        &mut self,
        id: StateId,
        state: &KeyState,
        shape: &Shape,
        since: SlotTime,
    ) {
        self.out.extend_from_slice(&id.to_bytes());
        self.out.push(CHANGED);
        put_body(self.out, state, shape, since);
    }

    /// Adds a whole state.
    pub(crate) fn whole(
        &mut self,
        id: StateId,
        state: &KeyState,
        shape: &Shape,
        reservations: &Reservations,
    ) {
        self.out.extend_from_slice(&id.to_bytes());
        self.out.push(WHOLE);
        put_body(self.out, state, shape, SlotTime::ZERO);
        put_reservations(self.out, reservations);
    }

    /// Closes the open group and adds a whole one, as [`Group::raw`] gave it, of a reign of the
    /// record's owner.
    pub(crate) fn group(&mut self, raw: &[u8]) {
        self.end_slot();
        self.out.extend_from_slice(raw);
    }

    /// Closes the record and puts its checksum in.
    pub(crate) fn finish(mut self) {
        self.end_slot();
        let Some(record) = self.out.get_mut(self.from..) else {
            return;
        };
        if let Some((place, rest)) = record.split_first_chunk_mut() {
            *place = crc32fast::hash(rest).to_le_bytes();
        }
    }

    fn end_slot(&mut self) {
        let Some((_, at)) = self.group.take() else {
            return;
        };
        let entries_from = at.saturating_add(4);
        let length = self.out.len().saturating_sub(entries_from);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(at..entries_from) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// A record's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHead {
    /// The commit's number.
    pub(crate) number: u64,
    /// What the node's clock showed when it was taken.
    pub(crate) stamp: SlotTime,
    /// Whose record it is.
    pub(crate) owner: NodeId,
}

/// One entry of a record.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Whose.
    pub(crate) id: StateId,
    /// Whether it replaces the state, or only sets the buckets it lists.
    pub(crate) whole: bool,
    /// What it says.
    pub(crate) state: Decoded,
}

/// What happened in one slot between two commits: the bytes of a group, and where they belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    /// Which slot.
    pub(crate) slot: Slot,
    /// What it brings the slot's state to.
    pub(crate) at: Position,
    /// What the slot's clock showed; not known of records of an older version.
    pub(crate) clock: Option<SlotTime>,
    raw: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Group<'a> {
    /// The whole group, for another record or a frame; nothing if it is of an older version.
    pub(crate) const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Its entries, in order. Nothing of the group may be used if one of them is an error.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<Entry, CodecError>> + 'a {
        let slot = self.slot;
        let mut bytes = Reader(self.entries);
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let entry = read_entry(&mut bytes).and_then(|entry| {
                let fits = entry.id.slot() == slot;
                fits.then_some(entry).ok_or(CodecError::Content)
            });
            if entry.is_err() {
                bytes = Reader(&[]);
            }
            Some(entry)
        })
    }
}

/// The groups of a record, in order; ends behind the first that is damaged.
#[derive(Debug)]
pub(crate) struct Groups<'a> {
    bytes: Reader<'a>,
    owner: NodeId,
    have_clocks: bool,
}

impl<'a> Groups<'a> {
    fn read(&mut self) -> Result<Group<'a>, CodecError> {
        let from = self.bytes.0;
        let bytes = &mut self.bytes;
        let slot = Slot::new(u16::from_le_bytes(bytes.take()?)).ok_or(CodecError::Content)?;
        let (counter, n) = (bytes.varint()?, bytes.varint()?);
        let clock = if self.have_clocks {
            Some(SlotTime::from_ms(bytes.varint()?))
        } else {
            None
        };
        let length = usize::try_from(u32::from_le_bytes(bytes.take()?));
        let (entries, rest) = length
            .ok()
            .and_then(|length| bytes.0.split_at_checked(length))
            .ok_or(CodecError::Content)?;
        self.bytes = Reader(rest);
        let length = from.len().saturating_sub(rest.len());
        let raw = from.get(..length).filter(|_| self.have_clocks);
        let epoch = Epoch {
            counter,
            node: self.owner,
        };
        Ok(Group {
            slot,
            at: Position { epoch, n },
            clock,
            raw: raw.unwrap_or(&[]),
            entries,
        })
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<Group<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let group = self.read();
        if group.is_err() {
            self.bytes = Reader(&[]);
        }
        Some(group)
    }
}

/// Cuts a record into groups, without looking at their entries. The checksum covers all of it, so
/// groups are only seen of a record that is as it was written.
pub(crate) fn groups(record: &[u8]) -> Result<(RecordHead, Groups<'_>), CodecError> {
    let (crc, rest) = record.split_first_chunk::<4>().ok_or(CodecError::Content)?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
        return Err(CodecError::Checksum);
    }
    groups_behind(rest)
}

/// As [`groups`], of a record that this process has just packed: its checksum is not looked at.
pub(crate) fn groups_of_packed(record: &[u8]) -> Result<(RecordHead, Groups<'_>), CodecError> {
    let (_crc, rest) = record.split_first_chunk::<4>().ok_or(CodecError::Content)?;
    groups_behind(rest)
}

/// Cuts what stands behind the checksum.
fn groups_behind(bytes: &[u8]) -> Result<(RecordHead, Groups<'_>), CodecError> {
    let mut bytes = Reader(bytes);
    let have_clocks = match bytes.byte()? {
        VERSION => true,
        VERSION_WITHOUT_CLOCKS => false,
        version => return Err(CodecError::Version(version)),
    };
    let head = RecordHead {
        number: u64::from_le_bytes(bytes.take()?),
        stamp: SlotTime::from_ms(u64::from_le_bytes(bytes.take()?)),
        owner: NodeId(u128::from_le_bytes(bytes.take()?)),
    };
    let groups = Groups {
        bytes,
        owner: head.owner,
        have_clocks,
    };
    Ok((head, groups))
}

/// Cuts groups of the reigns of `owner` that stand back to back, as [`Group::raw`] gave them. There is
/// no checksum over them: whoever carried them answers for that.
pub(crate) const fn cut(owner: NodeId, groups: &[u8]) -> Groups<'_> {
    Groups {
        bytes: Reader(groups),
        owner,
        have_clocks: true,
    }
}

/// All of these groups, unless one is damaged.
pub(crate) fn all(groups: Groups<'_>) -> Result<Vec<Group<'_>>, CodecError> {
    // Most groups are of one entry that changes one bucket, which is little less than this.
    const GROUP_BYTES: usize = 48;
    let mut all = Vec::with_capacity(groups.bytes.0.len() / GROUP_BYTES);
    for group in groups {
        all.push(group?);
    }
    Ok(all)
}

/// Appends a record of whole groups of the reigns of `owner`, as [`Group::raw`] gave them.
pub(crate) fn write_groups<'g>(
    out: &mut Vec<u8>,
    (number, stamp, owner): (u64, SlotTime, NodeId),
    groups: impl Iterator<Item = &'g [u8]>,
) {
    let mut writer = RecordWriter::new(out, number, stamp, owner);
    groups.for_each(|group| writer.group(group));
    writer.finish();
}

/// Reads a record and hands its entries to `visit`, in order.
pub(crate) fn read(record: &[u8], mut visit: impl FnMut(Entry)) -> Result<RecordHead, CodecError> {
    let (head, groups) = groups(record)?;
    for group in groups {
        for entry in group?.entries() {
            visit(entry?);
        }
    }
    Ok(head)
}

fn read_entry(bytes: &mut Reader<'_>) -> Result<Entry, CodecError> {
    let id = StateId::from_bytes(bytes.take()?);
    let whole = match bytes.byte()? {
        CHANGED => false,
        WHOLE => true,
        _ => return Err(CodecError::Content),
    };
    let (shape, buckets) = bytes.body()?;
    let reservations = if whole {
        bytes.reservations()?
    } else {
        Reservations::default()
    };
    Ok(Entry {
        id,
        whole,
        state: Decoded {
            shape,
            buckets,
            reservations,
            quarantined_since: None,
        },
    })
}
