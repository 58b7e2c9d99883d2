//! What engines hold, row by row.

use std::collections::BTreeMap;

use crate::limiter::table::ServedCopy;
use crate::limiter::transfer::{Row, Staging};
use crate::node::engine::Engine;
use crate::types::Slot;

/// All rows that an engine holds in memory, by slot.
pub(in crate::node) fn rows_of(engine: &Engine) -> BTreeMap<Slot, Vec<Row>> {
    let mut copy = ServedCopy::new(Slot::all().collect());
    let mut rows = Vec::new();
    let stored = engine.stored_rows();
    while engine
        .table
        .copy_served(&mut copy, &stored, &mut rows)
        .unwrap()
    {}
    let mut staged = BTreeMap::new();
    for (id, row) in rows {
        let staging = staged.entry(id.slot());
        let staging = staging.or_insert_with(|| Staging::new(id.slot(), 1 << 30));
        staging.take(id, row).unwrap();
    }
    let finish = |(slot, staging): (Slot, Staging)| {
        let clock = engine.table.slot_now(slot, engine.now());
        (
            slot,
            staging.finish_served(clock, copy.count(slot)).unwrap(),
        )
    };
    staged.into_iter().map(finish).collect()
}

/// Both hold the same of all slots, up to the same commits.
pub(in crate::node) fn assert_same(owner: &Engine, replica: &Engine) {
    for slot in Slot::all() {
        assert_eq!(owner.table.position(slot), replica.table.position(slot));
    }
    assert_eq!(rows_of(owner), rows_of(replica));
}
