//! An owner of two slots whose commits are remembered, and what follows it.

use super::*;
use crate::limiter::commit_record::{Group, cut, groups};
use crate::limiter::installed::Installed;
use crate::limiter::reservation::Open;
use crate::limiter::table::Applied;
use crate::limiter::transfer::Row;
use crate::limiter::window::Bucket;
use crate::types::SlotSet;

pub(super) const OWNER: NodeId = NodeId(1);
pub(super) const REPLICA: NodeId = NodeId(2);

pub(super) fn roomy(keys_max: u64) -> Capacity {
    Capacity {
        keys_max,
        bytes_max: u64::MAX,
        evicts: true,
    }
}

/// Both slots of the tests' keys.
pub(super) fn both() -> [Slot; 2] {
    cluster::slots()
}

/// A node with what it has written.
pub(super) struct Side {
    pub(super) table: Table,
    pub(super) disk: Disk,
    pub(super) shape: ShapeId,
}

impl Side {
    pub(super) fn new(node: NodeId, limits: &Limits, keys_max: u64) -> Self {
        let table = Table::new(roomy(keys_max), 1, node, Arc::default());
        let shape = table.shapes.intern(Shape::of(limits)).unwrap();
        Self {
            table,
            disk: Disk::default(),
            shape,
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let (mut cursor, mut rows) = (UnsavedCursor::default(), Vec::new());
        while self.table.unsaved(&mut cursor, &mut rows) {
            self.disk.rows.extend(rows.iter().cloned());
            self.table.saved(&rows);
            rows.clear();
        }
    }

    /// The buckets that count at `now` and the open reservations of a key, from memory or disk.
    pub(super) fn seen(&self, id: StateId, now: SlotTime) -> (Vec<Bucket>, Vec<Open>) {
        let stripe = self.table.lock(id);
        let none = Reservations::default();
        let row = if let Some(state) = stripe.records.get(id) {
            let reservations = stripe.reservations.get(&id).unwrap_or(&none);
            let shape = self.table.shapes.get(state.shape);
            crate::limiter::codec::encode_row(id, state, &shape, reservations)
        } else if let Some(row) = self.disk.rows.get(&id) {
            row.clone()
        } else {
            return Default::default();
        };
        let decoded = crate::limiter::codec::decode_row(id, &row).unwrap();
        let oldest = decoded.shape.spans()[0].oldest_counting_ms(now.as_ms());
        let buckets = decoded.buckets.list(0).iter().copied();
        let open = decoded.reservations.open_at(now).copied().collect();
        (
            buckets.filter(|it| it.start.as_ms() >= oldest).collect(),
            open,
        )
    }
}

/// An owner of both slots, whose commits are remembered group by group.
pub(super) struct Owner {
    pub(super) side: Side,
    pub(super) limits: Limits,
    pub(super) now: SlotTime,
    pub(super) log: Vec<(Slot, Vec<u8>)>,
    pub(super) grants: BTreeMap<u8, Grant>,
    pub(super) open: BTreeMap<u8, u64>,
}

impl Owner {
    pub(super) fn new(keys_max: u64) -> Self {
        let limits = Limits::from(Limit::new(100, 1000).unwrap());
        let side = Side::new(OWNER, &limits, keys_max);
        for slot in both() {
            let at = start_of(epoch(1));
            let installed = Installed::new(at, at, SlotTime::ZERO, SlotTime::ZERO);
            let nothing = side.table.prepare(slot, &[]).unwrap();
            side.table.install(nothing, &installed);
            side.table.serve(slot, epoch(1)).unwrap();
        }
        Self {
            side,
            limits,
            now: SlotTime::from_ms(5000),
            log: Vec::new(),
            grants: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn commit(&mut self) {
        let mut record = Vec::new();
        self.side.table.take_commit(self.now, &mut record);
        let (_, read) = groups(&record).unwrap();
        let read = read.map(Result::unwrap);
        self.log
            .extend(read.map(|group| (group.slot, group.raw().to_vec())));
    }

    pub(super) fn ask<T>(
        &mut self,
        key: u8,
        cost: u64,
        ask: impl Fn(&Table, &Asked<'_>) -> Ask<T>,
    ) -> T {
        let mut absent_at = None;
        for _ in 0..20 {
            let asked = Asked {
                id: state_id(key),
                limits: &self.limits,
                shape: self.side.shape,
                cost,
                journaled: true,
                absent_at,
            };
            match ask(&self.side.table, &asked) {
                Ask::Answer(answer) => return answer,
                Ask::Full => {
                    self.commit();
                    self.side.checkpoint();
                    self.side.table.make_room(self.now);
                }
                Ask::Cold(evictions) => {
                    let row = self.side.disk.rows.get(&asked.id);
                    let row = row.map(Vec::as_slice);
                    let thawed = self.side.table.thaw(asked.id, row, evictions, self.now);
                    if thawed == Ok(Thawed::Absent) {
                        absent_at = Some(evictions);
                    }
                    if thawed == Ok(Thawed::NoRoom) {
                        self.commit();
                        self.side.checkpoint();
                        self.side.table.make_room(self.now);
                    }
                }
            }
        }
        panic!("no answer for key {key}");
    }

    pub(super) fn step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Wait(ms) => self.now = self.now.plus_ms(ms),
            Step::Commit | Step::Restart => self.commit(),
            Step::Checkpoint => self.side.checkpoint(),
            Step::Sweep => {
                self.side.table.sweep(now);
                self.side.table.make_room(now);
            }
            Step::Check { key, cost } => {
                let outcome = self.ask(key, cost, |t, asked| outcome(t.check(now, asked)));
                if let Outcome::Decided { at, ticket, .. } = outcome
                    && ticket.is_some()
                {
                    self.grants.insert(key, Grant { at, cost });
                }
            }
            Step::Refund { key, cost } => {
                let Some(grant) = self.grants.remove(&key) else {
                    return;
                };
                let cost = cost.min(grant.cost);
                let refund = Change::Refund(Grant { cost, ..grant });
                let done = self.ask(key, 0, |t, asked| change(t, now, asked, refund));
                assert!(done.is_ok());
            }
            Step::Reserve { key, cost } => {
                let id = self.open.get(&key).copied().unwrap_or(0) + 1;
                let reserve = Reserve {
                    id: ReservationId(id),
                    ttl_ms: 700,
                };
                self.open.insert(key, id);
                let reserved = self.ask(key, cost, |t, asked| {
                    outcome(t.reserve(now, asked, reserve).unwrap())
                });
                assert!(matches!(reserved, Outcome::Decided { .. }));
            }
            Step::Settle { key, actual } => {
                let id = ReservationId(self.open.get(&key).copied().unwrap_or(0));
                let settle = Change::Settle(id, actual);
                self.ask(key, 0, |t, asked| change(t, now, asked, settle))
                    .ok();
            }
            Step::Reset { key } => {
                let reset = Change::Reset;
                let done = self.ask(key, 0, |t, asked| change(t, now, asked, reset));
                assert!(done.is_ok());
            }
        }
    }

    pub(super) fn at(&self, slot: Slot) -> Position {
        self.side.table.position(slot)
    }
}

pub(super) fn group_of(raw: &[u8]) -> Group<'_> {
    cut(OWNER, raw).next().unwrap().unwrap()
}

/// A replica that holds both slots at the owner's positions, empty, and follows.
pub(super) fn replica_of(owner: &Owner, keys_max: u64) -> Side {
    let side = Side::new(REPLICA, &owner.limits, keys_max);
    for slot in both() {
        install(&side, slot, owner.at(slot), &[], owner.now);
    }
    side
}

pub(super) fn install(side: &Side, slot: Slot, at: Position, rows: &[Row], clock: SlotTime) {
    let installed = side.table.mark(at, at, clock, SlotTime::from_ms(1));
    let rows = side.table.prepare(slot, rows).unwrap();
    side.table.install(rows, &installed);
    side.table.follow(slot, at.epoch).unwrap();
}

/// As a node does: makes room when there is none.
pub(super) fn apply(side: &mut Side, raw: &[u8]) -> Applied {
    for _ in 0..3 {
        match side.table.apply(&group_of(raw), &side.disk).unwrap() {
            Applied::Full => {
                side.checkpoint();
                side.table.make_room(SlotTime::ZERO);
            }
            applied @ (Applied::Done
            | Applied::Known
            | Applied::Gap { .. }
            | Applied::Closed { .. }) => return applied,
        }
    }
    panic!("no room")
}

pub(super) fn assert_same(owner: &Owner, replica: &Side, slots: &SlotSet) {
    for key in 0..12 {
        let id = state_id(key);
        if slots.contains(id.slot()) {
            let (ours, theirs) = (replica.seen(id, owner.now), owner.side.seen(id, owner.now));
            assert_eq!(ours, theirs, "key {key}");
        }
    }
    for slot in slots.iter() {
        assert_eq!(replica.table.position(slot), owner.at(slot));
    }
}
