//! Doors for benches and the simulator to what users never see. Not stable, and not documented.

use std::sync::Arc;

use crate::limiter::codec::{decode_row, encode_row};
use crate::limiter::policy::{Limit, Limits};
use crate::limiter::reservation::Reservations;
use crate::limiter::shape::{Shape, ShapeId};
use crate::limiter::table::{self, Asked, Capacity, Table};
use crate::limiter::{KeyState, SlotClocks};
pub use crate::sim::{Coverage, Outcome, Plan, Violation, mutations, not_switched_off};
use crate::types::{Epoch, NodeId, Slot, SlotTime, StateId};

/// The name under which the rows of [`encode`] are written.
const ID: StateId = StateId(7);

/// The row of a state that was counted under `limits`.
pub fn encode(state: &KeyState, limits: &Limits) -> Vec<u8> {
    encode_row(ID, state, &Shape::of(limits), &Reservations::default())
}

/// Number of buckets in a row of [`encode`]; 0 if it cannot be read.
pub fn decode(row: &[u8]) -> usize {
    decode_row(ID, row).map_or(0, |decoded| decoded.buckets.all().len())
}

/// A table with a journal behind it that forgets everything.
#[derive(Debug)]
pub struct Commits {
    table: Table,
    limits: Limits,
    shape: ShapeId,
    record: Vec<u8>,
}

impl Commits {
    /// An empty table in which every key has this limit.
    pub fn new(limit: Limit) -> Self {
        let capacity = Capacity {
            keys_max: u64::MAX,
            bytes_max: u64::MAX,
            evicts: false,
        };
        let limits = Limits::from(limit);
        let clocks = Arc::new(SlotClocks::default());
        let table = Table::new(capacity, 1, NodeId(1), clocks);
        for slot in Slot::all() {
            table.hold_since_ever(slot);
            table.serve_own(slot, Epoch::ZERO);
        }
        // The first shape of a table is always named.
        let shape = table
            .shapes
            .intern(Shape::of(&limits))
            .unwrap_or(ShapeId::FIRST);
        Self {
            table,
            limits,
            shape,
            record: Vec::new(),
        }
    }

    /// Checks the key of this hash at `now`; whether it was granted.
    pub fn check(&self, hash: u128, now: SlotTime) -> bool {
        let asked = Asked {
            id: StateId(hash),
            limits: &self.limits,
            shape: self.shape,
            cost: 1,
            journaled: true,
            absent_at: None,
        };
        matches!(self.table.check(now, &asked), table::Outcome::Decided { verdict, .. } if verdict.granted)
    }

    /// Commits all that has changed; bytes of the commit record.
    pub fn commit(&mut self, now: SlotTime) -> usize {
        self.record.clear();
        self.table.take_commit(now, &mut self.record);
        self.record.len()
    }
}
