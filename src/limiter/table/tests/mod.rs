//! The table against a map of plain states, with a toy store behind it: commits, checkpoints,
//! evictions, sweeps and crashes may come at any time and change no answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::limiter::key_state::KeyState;
use crate::limiter::policy::{Limit, Limits};
use crate::limiter::reservation::Reservations;
use crate::limiter::shape::{Shape, ShapeId};
use crate::types::{Epoch, Grant, NodeId, Position, ReservationId, Slot, SlotTime, StateId};

mod cluster;
mod follow;
mod following;
mod hand_off;
pub(super) mod scheduled;
mod served;
mod slots;

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Check {
        key: u8,
        cost: u64,
    },
    Refund {
        key: u8,
        cost: u64,
    },
    Reserve {
        key: u8,
        cost: u64,
    },
    Settle {
        key: u8,
        actual: u64,
    },
    Reset {
        key: u8,
    },
    Commit,
    Checkpoint,
    Sweep,
    /// Commit, then start anew from the store.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..12u8;
    prop_oneof![
        2 => (0..300u64).prop_map(Step::Wait),
        10 => (key(), 0..12u64).prop_map(|(key, cost)| Step::Check { key, cost }),
        2 => (key(), 1..9u64).prop_map(|(key, cost)| Step::Refund { key, cost }),
        1 => (key(), 1..9u64).prop_map(|(key, cost)| Step::Reserve { key, cost }),
        1 => (key(), 0..12u64).prop_map(|(key, actual)| Step::Settle { key, actual }),
        1 => key().prop_map(|key| Step::Reset { key }),
        2 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// What a crash leaves.
#[derive(Default)]
struct Disk {
    rows: BTreeMap<StateId, Vec<u8>>,
    journal: BTreeMap<u64, Vec<u8>>,
    /// All records that were ever in the journal.
    log: BTreeMap<u64, Vec<u8>>,
}

struct World {
    table: Table,
    disk: Disk,
    limits: Limits,
    shape: ShapeId,
    now: SlotTime,
    capacity: Capacity,
}

impl World {
    fn new(limits: Limits, keys_max: u64) -> Self {
        let capacity = Capacity {
            keys_max,
            bytes_max: u64::MAX,
            evicts: true,
        };
        let table = open_table(capacity, 1, 1);
        let shape = table.shapes.intern(Shape::of(&limits)).unwrap();
        Self {
            table,
            disk: Disk::default(),
            limits,
            shape,
            now: SlotTime::ZERO,
            capacity,
        }
    }

    fn commit(&mut self) {
        let mut record = Vec::new();
        let taken = self.table.take_commit(self.now, &mut record);
        if !taken.empty {
            self.disk.log.insert(taken.number, record.clone());
            self.disk.journal.insert(taken.number, record);
        }
    }

    fn checkpoint(&mut self) {
        let committed = self.table.open_commit.load(Ordering::SeqCst) - 1;
        let (mut cursor, mut rows) = (UnsavedCursor::default(), Vec::new());
        while self.table.unsaved(&mut cursor, &mut rows) {
            self.disk.rows.extend(rows.iter().cloned());
            self.table.saved(&rows);
            rows.clear();
        }
        self.disk.journal.retain(|number, _| *number > committed);
    }

    fn restart(&mut self) {
        let next = self.table.open_commit.load(Ordering::SeqCst) + 1;
        self.table = open_table(self.capacity, next, 2);
        self.shape = self.table.shapes.intern(Shape::of(&self.limits)).unwrap();
        for (id, row) in &self.disk.rows {
            self.table.load_row(*id, row, self.now).unwrap();
        }
        for record in self.disk.journal.values() {
            self.table
                .replay(record, |id| self.disk.rows.get(&id).cloned())
                .unwrap();
        }
    }

    /// Asks until the store has been consulted; makes room by a checkpoint, as a node does.
    fn ask<T>(
        &mut self,
        key: u8,
        cost: u64,
        ask: impl Fn(&Table, SlotTime, &Asked<'_>) -> Ask<T>,
    ) -> T {
        let id = state_id(key);
        let mut absent_at = None;
        for _ in 0..4 {
            let limits = self.limits.clone();
            let asked = Asked {
                id,
                limits: &limits,
                shape: self.shape,
                cost,
                journaled: true,
                absent_at,
            };
            match ask(&self.table, self.now, &asked) {
                Ask::Answer(answer) => return answer,
                Ask::Full => {
                    self.commit();
                    self.checkpoint();
                }
                Ask::Cold(evictions) => {
                    let row = self.disk.rows.get(&id).cloned();
                    match self
                        .table
                        .thaw(id, row.as_deref(), evictions, self.now)
                        .unwrap()
                    {
                        Thawed::Absent => absent_at = Some(evictions),
                        Thawed::Here => {}
                        Thawed::NoRoom => {
                            self.commit();
                            self.checkpoint();
                        }
                    }
                }
            }
        }
        panic!("the question about key {key} was never answered");
    }
}

enum Ask<T> {
    Answer(T),
    Cold(u64),
    Full,
}

fn outcome(outcome: Outcome) -> Ask<Outcome> {
    match outcome {
        Outcome::Cold { evictions } => Ask::Cold(evictions),
        Outcome::Full => Ask::Full,
        Outcome::Decided { .. }
        | Outcome::CostAboveLimit(_)
        | Outcome::Quarantined { .. }
        | Outcome::NotServed => Ask::Answer(outcome),
    }
}

fn open_table(capacity: Capacity, first_commit: u64, counter: u64) -> Table {
    let table = Table::new(capacity, first_commit, NodeId(1), Arc::default());
    for slot in Slot::all() {
        table.hold_since_ever(slot);
        table.serve_own(slot, epoch(counter));
    }
    table
}

fn epoch(counter: u64) -> Epoch {
    Epoch {
        counter,
        node: NodeId(1),
    }
}

/// Where a reign begins.
fn start_of(epoch: Epoch) -> Position {
    Position { epoch, n: 0 }
}

fn state_id(key: u8) -> StateId {
    // All in one stripe, in two slots, so that they compete for room.
    StateId(u128::from(key % 2) << 116 | u128::from(key) << 60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_commit_checkpoint_eviction_or_restart_changes_an_answer(
        steps in prop::collection::vec(step(), 1..150),
        two_limits in any::<bool>(),
        keys_max in 2..14u64,
    ) {
        let mut all = vec![Limit::new(70, 600).unwrap()];
        if two_limits {
            all.push(Limit::new(20, 150).unwrap());
        }
        let limits = Limits::new(all).unwrap();
        let mut world = World::new(limits.clone(), keys_max);
        let mut model: BTreeMap<u8, (KeyState, Reservations, Option<Grant>)> = BTreeMap::new();
        for step in steps {
            prop_assert_eq!(world.table.unsaved_count(), world.table.unsaved_seen());
            match step {
                Step::Wait(ms) => world.now = world.now.plus_ms(ms),
                Step::Commit => world.commit(),
                Step::Checkpoint => world.checkpoint(),
                Step::Sweep => drop(world.table.sweep(world.now)),
                Step::Restart => {
                    world.commit();
                    world.restart();
                }
                Step::Check { key, cost } => {
                    let got = world.ask(key, cost, |t, now, asked| outcome(t.check(now, asked)));
                    let (state, _, last) = model.entry(key).or_default();
                    let expected = state.check(&limits, cost, world.now).unwrap();
                    let Outcome::Decided { verdict, .. } = got else { panic!("{got:?}") };
                    prop_assert_eq!(verdict, expected);
                    if verdict.granted && cost > 0 {
                        *last = Some(Grant { at: world.now, cost });
                    }
                }
                Step::Refund { key, cost } => {
                    let (state, _, last) = model.entry(key).or_default();
                    let Some(grant) = last.take().map(|g| Grant { cost: cost.min(g.cost), ..g }) else { continue };
                    let expected = state.refund(&limits, grant, world.now);
                    let got = world.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Refund(grant)));
                    prop_assert_eq!(got, Ok(expected));
                }
                Step::Reserve { key, cost } => {
                    let reserve = Reserve { id: ReservationId(u64::from(key)), ttl_ms: 300 };
                    let (state, open, _) = model.entry(key).or_default();
                    if open.open_at(world.now).count() > 0 { continue }
                    let expected = state.check(&limits, cost, world.now).unwrap();
                    if expected.granted {
                        let grant = Grant { at: world.now, cost };
                        let expires_at = world.now.plus_ms(300);
                        let entry = crate::limiter::reservation::Open { id: reserve.id, grant, expires_at };
                        open.remember(entry, world.now);
                    }
                    let got = world.ask(key, cost, |t, now, asked| {
                        outcome(t.reserve(now, asked, reserve).unwrap())
                    });
                    let Outcome::Decided { verdict, .. } = got else { panic!("{got:?}") };
                    prop_assert_eq!(verdict, expected);
                }
                Step::Settle { key, actual } => {
                    let id = ReservationId(u64::from(key));
                    let (state, open, _) = model.entry(key).or_default();
                    let expected = open.settle(state, &limits, id, actual, world.now);
                    let got = world.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Settle(id, actual)));
                    prop_assert_eq!(got.is_ok(), expected.is_ok());
                }
                Step::Reset { key } => {
                    model.remove(&key);
                    let got = world.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Reset));
                    prop_assert!(got.is_ok());
                }
            }
        }
        for (key, (state, ..)) in model {
            let got = world.ask(key, 0, |t, now, asked| outcome(t.peek(now, asked)));
            let Outcome::Decided { verdict, .. } = got else { panic!("{got:?}") };
            prop_assert_eq!(verdict, state.peek(&limits, 0, world.now).unwrap());
        }
    }
}

fn change(
    table: &Table,
    now: SlotTime,
    asked: &Asked<'_>,
    change: Change,
) -> Ask<Result<u64, ChangeError>> {
    match table.change(now, asked, change) {
        Err(ChangeError::Cold { evictions }) => Ask::Cold(evictions),
        done => Ask::Answer(done.map(|(permits, _)| permits)),
    }
}
