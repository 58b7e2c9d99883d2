//! Slots that are replaced and dropped while checkpoints come and go.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use parking_lot::Mutex;

use super::slots::{install_of, row, slot};
use crate::storage::checkpoint::{CheckpointSource, checkpoint};
use crate::storage::fence::Fence;
use crate::storage::memory::MemoryStore;
use crate::storage::replace::{self, RowTurn};
use crate::storage::store::{StateRow, Store};
use crate::types::SlotSet;

/// A table of one state a slot, which says how often its slot was replaced.
#[derive(Default)]
struct Replaced(Mutex<[Generation; 4]>);

#[derive(Default, Clone, Copy)]
struct Generation {
    number: u8,
    is_dropped: bool,
}

impl CheckpointSource for Replaced {
    type Cursor = u16;

    fn unsaved(&self, cursor: &mut u16, rows: &mut Vec<StateRow>) -> bool {
        let slots = *self.0.lock();
        let Some(generation) = slots.get(usize::from(*cursor)) else {
            return false;
        };
        if !generation.is_dropped {
            rows.push(row(*cursor, 1, generation.number));
        }
        *cursor += 1;
        // A replacement that does not wait for its turn comes in here.
        for _ in 0..100 {
            std::thread::yield_now();
        }
        true
    }

    fn positions(&self, committed: u64) -> Vec<u8> {
        committed.to_le_bytes().to_vec()
    }

    fn saved(&self, _rows: &[StateRow]) {}
}

/// Ends the checkpoints, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_checkpoint_brings_a_replaced_or_dropped_row_back() {
    let (store, turn, fence) = (MemoryStore::volatile(), RowTurn::default(), Fence::new());
    let (table, done) = (Replaced::default(), AtomicBool::new(false));
    let checkpoints = AtomicU16::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                checkpoint(&store, &table, &turn, &fence, 0).unwrap();
                checkpoints.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _end = End(&done);
        for round in 0..400_u16 {
            let of = round % 4;
            let replaced = Generation {
                number: u8::try_from(round / 4).unwrap(),
                is_dropped: round % 3 == 0,
            };
            let change = || table.0.lock()[usize::from(of)] = replaced;
            let storage = (&store, &turn, &fence);
            if replaced.is_dropped {
                let slots: SlotSet = [slot(of)].into_iter().collect();
                replace::drop_slots(storage, (&slots, b"gone"), change).unwrap();
            } else {
                let rows = vec![row(of, 1, replaced.number)];
                let install = install_of(of, 1, Some(rows));
                replace::install(storage, &[install], change).unwrap();
            }
            while checkpoints.load(Ordering::Relaxed) < round / 8 {
                std::thread::yield_now();
            }
            let stored = store.slot_rows(slot(of), None, 100).unwrap();
            let expected = (!replaced.is_dropped).then(|| row(of, 1, replaced.number));
            assert_eq!(stored, expected.into_iter().collect::<Vec<_>>(), "{round}");
        }
    });
}
