//! Moving a slot's state to another node: what is sent, how it is put together, and how both sides
//! know that it is all there.
//!
//! A row is sent as it is stored; an empty one says that the state is gone since it was last sent.
//! A later row replaces an earlier one of the same state. The *digest* is taken over the last row of
//! each state that still counts at the frozen slot's clock, so both sides may leave out what has
//! expired, and the order and number of times that rows were sent do not matter.
//!
//! The sender's half is in [`super::table`].

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::codec::{CodecError, decode_row, expires_at};
use crate::types::{Slot, SlotTime, StateId};

/// A state's id and its row.
pub(crate) type Row = (StateId, Vec<u8>);

/// Rows are handed out in chunks of about so many bytes at most.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Most bytes of a row: [`super::RESERVATIONS_MAX`] reservations and four times 255 buckets, all of
/// the widest integers.
const ROW_BYTES_MAX: usize = 32 << 10;

/// How many states a slot has that count, and the xor of the hashes of their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SlotDigest {
    /// States.
    pub(crate) count: u64,
    /// Of a 128-bit hash of each id and row.
    pub(crate) xor: u128,
}

impl SlotDigest {
    /// Takes a row in whose hash is `hash`.
    pub(crate) const fn add(&mut self, hash: u128) {
        self.count = self.count.saturating_add(1);
        self.xor ^= hash;
    }
}

/// The hash of a row under its id.
pub(crate) fn row_hash(id: StateId, row: &[u8]) -> u128 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the id's halves are folded"
    )]
    let seed = (id.0 >> 64) as u64 ^ id.0 as u64;
    xxh3_128_with_seed(row, seed)
}

/// Why what came does not make a slot's state. Nothing of it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StagingError {
    /// A state of another slot.
    #[error("state {id} is not of slot {slot}")]
    OtherSlot {
        /// The slot that is being received.
        slot: Slot,
        /// The state.
        id: StateId,
    },
    /// A row was damaged on its way.
    #[error("the row of state {id} is damaged")]
    Damaged {
        /// The state.
        id: StateId,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The slot is larger than this node takes.
    #[error("slot {slot} has more than {bytes_max} bytes of states; raise max_memory on this node")]
    TooLarge {
        /// The slot.
        slot: Slot,
        /// The bound.
        bytes_max: usize,
    },
    /// What came is not what the sender has.
    #[error("slot {slot} came as {} states, but the sender has {}, or some differ", got.count, expected.count)]
    Mismatch {
        /// The slot.
        slot: Slot,
        /// The sender's digest.
        expected: SlotDigest,
        /// The digest of what came.
        got: SlotDigest,
    },
    /// Not as many rows came of a slot that is served as the sender has told.
    #[error("{got} rows came of slot {slot}, but the sender has told {told}")]
    Count {
        /// The slot.
        slot: Slot,
        /// The sender's count.
        told: u64,
        /// Rows that came.
        got: u64,
    },
}

/// A slot's state as far as it has come.
#[derive(Debug)]
pub(crate) struct Staging {
    slot: Slot,
    rows: BTreeMap<StateId, Vec<u8>>,
    /// Rows that came, each time.
    taken: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Staging {
    /// Nothing yet of `slot`, and room for `bytes_max`.
    pub(crate) const fn new(slot: Slot, bytes_max: usize) -> Self {
        Self {
            slot,
            rows: BTreeMap::new(),
            taken: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// Bytes of rows that it holds.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a row in, in the place of an earlier one of the same state.
    ///
    /// # Errors
    /// [`StagingError`]; what is staged is as before.
    pub(crate) fn take(&mut self, id: StateId, row: Vec<u8>) -> Result<(), StagingError> {
        let slot = self.slot;
        if id.slot() != slot {
            return Err(StagingError::OtherSlot { slot, id });
        }
        let damaged = |source| StagingError::Damaged { id, source };
        if row.len() > ROW_BYTES_MAX {
            return Err(damaged(CodecError::Content));
        }
        if !row.is_empty() {
            decode_row(id, &row).map_err(damaged)?;
        }
        let old = self.rows.get(&id).map_or(0, Vec::len);
        let bytes = self.bytes.saturating_sub(old).saturating_add(row.len());
        if bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(StagingError::TooLarge { slot, bytes_max });
        }
        self.bytes = bytes;
        self.taken = self.taken.saturating_add(1);
        if row.is_empty() {
            self.rows.remove(&id);
        } else {
            self.rows.insert(id, row);
        }
        Ok(())
    }

    /// The rows of a slot that is still served and whose clock shows `clock`, if as many came as the
    /// sender has told. Each row has a checksum of its own; what it lacks is in the commits behind.
    ///
    /// # Errors
    /// [`StagingError::Count`].
    pub(crate) fn finish_served(
        self,
        clock: SlotTime,
        told: u64,
    ) -> Result<Vec<Row>, StagingError> {
        let (slot, got) = (self.slot, self.taken);
        if got != told {
            return Err(StagingError::Count { slot, told, got });
        }
        let counts = |row: &[u8]| expires_at(row).is_some_and(|expiry| expiry > clock);
        let rows = self.rows.into_iter().filter(|(_, row)| counts(row));
        Ok(rows.collect())
    }

    /// The rows that count at `clock`, the frozen slot's, if they are what the sender has.
    ///
    /// # Errors
    /// [`StagingError::Mismatch`].
    pub(crate) fn finish(
        self,
        clock: SlotTime,
        expected: SlotDigest,
    ) -> Result<Vec<Row>, StagingError> {
        let counts = |row: &[u8]| expires_at(row).is_some_and(|expiry| expiry > clock);
        let rows = self.rows.into_iter().filter(|(_, row)| counts(row));
        let rows: Vec<Row> = rows.collect();
        let mut got = SlotDigest::default();
        for (id, row) in &rows {
            got.add(row_hash(*id, row));
        }
        if got != expected {
            return Err(StagingError::Mismatch {
                slot: self.slot,
                expected,
                got,
            });
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::codec::quarantine_row;

    fn slot() -> Slot {
        Slot::new(0xabc).unwrap()
    }

    fn row(n: u128, since_ms: u64) -> Row {
        let id = StateId(StateId::first_of(slot()).0 | n);
        (id, quarantine_row(id, SlotTime::from_ms(since_ms)))
    }

    fn digest(rows: &[Row]) -> SlotDigest {
        let mut digest = SlotDigest::default();
        for (id, row) in rows {
            digest.add(row_hash(*id, row));
        }
        digest
    }

    fn staged(rows: &[Row]) -> Staging {
        let mut staging = Staging::new(slot(), 1 << 20);
        for (id, row) in rows {
            staging.take(*id, row.clone()).unwrap();
        }
        staging
    }

    #[test]
    fn the_last_row_of_each_state_is_what_counts() {
        let expected = [row(1, 20), row(3, 5)];
        let gone = (row(2, 0).0, Vec::new());
        let staging = staged(&[row(1, 10), row(2, 10), row(3, 5), row(1, 20), gone]);
        assert_eq!(
            staging.bytes(),
            expected.iter().map(|(_, row)| row.len()).sum::<usize>()
        );
        let rows = staging.finish(SlotTime::ZERO, digest(&expected));
        assert_eq!(rows, Ok(expected.to_vec()));
    }

    #[test]
    fn what_has_expired_at_the_frozen_clock_is_left_out() {
        let rows = [row(1, 0), row(2, 100)];
        let clock = expires_at(&rows[0].1).unwrap();
        let finished = staged(&rows).finish(clock, digest(&rows[1..]));
        assert_eq!(finished, Ok(rows[1..].to_vec()));
    }

    #[test]
    fn anything_that_is_missing_too_much_or_different_is_noticed() {
        let rows = [row(1, 10), row(2, 20)];
        let expected = digest(&rows);
        let [a, b] = rows;
        // Each under the other's name, with a checksum that fits.
        let swapped = [row(1, 20), row(2, 10)];
        let cases: [&[Row]; 5] = [
            &[],
            std::slice::from_ref(&a),
            &[a.clone(), b.clone(), row(3, 10)],
            &[a.clone(), row(2, 21)],
            &swapped,
        ];
        for case in cases {
            let finished = staged(case).finish(SlotTime::ZERO, expected);
            assert!(matches!(finished, Err(StagingError::Mismatch { .. })));
        }
        assert!(staged(&[b, a]).finish(SlotTime::ZERO, expected).is_ok());
    }

    #[test]
    fn rows_that_are_damaged_of_another_slot_or_too_many_are_refused() {
        let (id, good) = row(1, 10);
        let mut staging = Staging::new(slot(), good.len());
        let other = StateId(1);
        assert!(matches!(
            staging.take(other, good.clone()),
            Err(StagingError::OtherSlot { .. })
        ));
        let mut bad = good.clone();
        bad[9] ^= 1;
        for bad in [bad, vec![0; ROW_BYTES_MAX + 1]] {
            let refused = staging.take(id, bad);
            assert!(matches!(refused, Err(StagingError::Damaged { .. })));
        }
        staging.take(id, good.clone()).unwrap();
        staging.take(id, good).unwrap();
        let (second, row) = row(2, 10);
        assert!(matches!(
            staging.take(second, row),
            Err(StagingError::TooLarge { .. })
        ));
    }
}
