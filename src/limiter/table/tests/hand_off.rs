//! Slots that move between two tables, at any point of a copy and between all else that happens:
//! no answer changes, no count is lost, and the slot's clock never outruns real time.

use std::collections::BTreeMap;

use super::*;
use crate::limiter::codec::{decode_row, encode_row, expires_at};
use crate::limiter::installed::{Installed, SlotMark};
use crate::limiter::key_state::Marks;
use crate::limiter::reservation::Open;
use crate::limiter::table::{ExportError, NotInstalled, SlotExport, StoredRows};
use crate::limiter::transfer::{Row, SlotDigest, Staging, StagingError, row_hash};
use crate::types::SlotSet;

/// What a store keeps, with pages of two rows.
impl StoredRows for Disk {
    type Error = ();

    fn row(&self, id: StateId) -> Result<Option<Vec<u8>>, ()> {
        Ok(self.rows.get(&id).cloned())
    }

    fn rows(&self, slot: Slot, after: Option<StateId>) -> Result<Vec<Row>, ()> {
        let rows = self.rows.iter().filter(|(id, _)| id.slot() == slot);
        let rows = rows.filter(|(id, _)| Some(**id) > after).take(2);
        Ok(rows.map(|(id, row)| (*id, row.clone())).collect())
    }
}

/// A node: its table, what it has written, and a clock of its own.
struct Node {
    id: NodeId,
    table: Table,
    disk: Disk,
    marks: BTreeMap<Slot, SlotMark>,
    shape: ShapeId,
    /// What its clock shows at real time 0, and how slow it is in thousandths.
    starts_at_us: u64,
    slow: u64,
}

impl Node {
    fn new(id: u128, capacity: Capacity, limits: &Limits, starts_at_us: u64, slow: u64) -> Self {
        let table = Table::new(capacity, 1, NodeId(id), Arc::default());
        let shape = table.shapes.intern(Shape::of(limits)).unwrap();
        Self {
            id: NodeId(id),
            table,
            disk: Disk::default(),
            marks: BTreeMap::new(),
            shape,
            starts_at_us,
            slow,
        }
    }

    fn clock(&self, real_us: u64) -> SlotTime {
        SlotTime::from_ms((self.starts_at_us + real_us - real_us * self.slow / 1000) / 1000)
    }

    fn commit(&mut self, now: SlotTime) {
        let mut record = Vec::new();
        let taken = self.table.take_commit(now, &mut record);
        if !taken.empty {
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

    fn restart(&mut self, limits: &Limits, now: SlotTime) {
        let next = self.table.open_commit.load(Ordering::SeqCst) + 1;
        self.table = Table::new(self.table.capacity, next, self.id, Arc::default());
        self.shape = self.table.shapes.intern(Shape::of(limits)).unwrap();
        for (slot, mark) in &self.marks {
            match SlotMark::decode(&mark.encode()).unwrap() {
                SlotMark::Dropped => {}
                SlotMark::Installed(installed) => self.table.hold(*slot, &installed),
            }
        }
        for (id, row) in &self.disk.rows {
            self.table.load_row(*id, row, now).unwrap();
        }
        for record in self.disk.journal.values() {
            let fetch = |id| self.disk.rows.get(&id).cloned();
            self.table.replay(record, fetch).unwrap();
        }
    }

    fn install(&mut self, slot: Slot, rows: &[Row], installed: Installed) {
        let prepared = self.table.prepare(slot, rows).unwrap();
        self.disk.rows.retain(|id, _| id.slot() != slot);
        self.disk.rows.extend(rows.iter().cloned());
        self.marks.insert(slot, SlotMark::Installed(installed));
        self.table.install(prepared, &installed);
    }

    fn drop_slot(&mut self, slot: Slot) {
        self.disk.rows.retain(|id, _| id.slot() != slot);
        self.marks.insert(slot, SlotMark::Dropped);
        self.table.drop_slot(slot);
    }

    /// The digest of all that counts in a frozen slot, from memory and disk.
    fn digest(&self, slot: Slot, clock: SlotTime) -> SlotDigest {
        let stripe = self.table.lock(StateId::first_of(slot));
        let none = Reservations::default();
        let in_memory = stripe.records.iter().map(|record| {
            let reservations = stripe.reservations.get(&record.id).unwrap_or(&none);
            let shape = self.table.shapes.get(record.state.shape);
            let row = encode_row(record.id, &record.state, &shape, reservations);
            (record.id, row)
        });
        let mut rows = self.disk.rows.clone();
        rows.extend(in_memory);
        let mut digest = SlotDigest::default();
        for (id, row) in rows {
            if id.slot() == slot && expires_at(&row).unwrap() > clock {
                digest.add(row_hash(id, &row));
            }
        }
        digest
    }
}

/// A copy on its way.
struct Copy {
    export: SlotExport,
    staging: BTreeMap<Slot, Staging>,
}

struct Cluster {
    nodes: [Node; 2],
    limits: Limits,
    real_us: u64,
    /// Of each of the two slots: its owner.
    owners: [usize; 2],
    epochs: u64,
    copy: Option<Copy>,
    /// Of each slot, when it was asked last, really and by its clock.
    asked: [Option<(u64, SlotTime)>; 2],
}

fn slots() -> [Slot; 2] {
    [0, 1].map(|n| Slot::new(n).unwrap())
}

impl Cluster {
    fn new(limits: Limits, keys_max: u64, slow: [u64; 2]) -> Self {
        let capacity = Capacity {
            keys_max,
            bytes_max: u64::MAX,
            evicts: true,
        };
        let node = |n, at| Node::new(n, capacity, &limits, at, slow[usize::from(n > 1)]);
        let mut cluster = Self {
            nodes: [node(1, 5_000_700), node(2, 300)],
            limits: limits.clone(),
            real_us: 0,
            owners: [0, 0],
            epochs: 0,
            copy: None,
            asked: [None; 2],
        };
        for slot in slots() {
            let (epoch, now) = (cluster.next_epoch(0), cluster.nodes[0].clock(0));
            let installed = Installed::new(epoch, epoch, SlotTime::ZERO, now);
            cluster.nodes[0].install(slot, &[], installed);
            cluster.nodes[0].table.serve(slot, epoch).unwrap();
        }
        cluster
    }

    fn next_epoch(&mut self, n: usize) -> Epoch {
        self.epochs += 1;
        Epoch {
            counter: self.epochs,
            node: self.nodes[n].id,
        }
    }

    fn owned_by(&self, n: usize) -> Vec<Slot> {
        let owned = slots().into_iter().zip(self.owners);
        owned
            .filter(|(_, owner)| *owner == n)
            .map(|it| it.0)
            .collect()
    }

    /// What the slot's clock shows, which is shown to have gained nothing on real time.
    fn slot_now(&mut self, slot: Slot) -> SlotTime {
        let node = &self.nodes[self.owners[slot.index()]];
        let now = node.table.slot_now(slot, node.clock(self.real_us));
        if let Some((real_us, at)) = self.asked[slot.index()] {
            assert!(now >= at, "it went back");
            // Both are shown in whole milliseconds, the earlier one cut off.
            let gained = now.ms_since(at) * 1000;
            assert!(
                gained < self.real_us - real_us + 1000,
                "it outran real time"
            );
        }
        self.asked[slot.index()].get_or_insert((self.real_us, now));
        now
    }

    fn begin_copy(&mut self, n: usize) {
        let owned: SlotSet = self.owned_by(n).into_iter().collect();
        if let Some(copy) = self.copy.take() {
            self.nodes
                .iter()
                .for_each(|node| node.table.end_export(&copy.export));
        }
        let staging = owned.iter().map(|slot| (slot, Staging::new(slot, 1 << 20)));
        let staging: BTreeMap<_, _> = staging.collect();
        self.copy = (!staging.is_empty()).then(|| Copy {
            staging,
            export: self.nodes[n].table.begin_export(owned),
        });
    }

    fn copy_chunk(&mut self) {
        let Some(copy) = &mut self.copy else { return };
        let first = copy.export.slots().iter().next().unwrap();
        let node = &self.nodes[self.owners[first.index()]];
        let mut rows = Vec::new();
        let copied = node
            .table
            .export_copy(&mut copy.export, &node.disk, &mut rows);
        match copied {
            Ok(more) => assert_eq!(more, !rows.is_empty()),
            Err(error) => {
                assert!(matches!(error, ExportError::Void(_)), "{error:?}");
                self.copy = None;
                return;
            }
        }
        take_all(copy, rows);
    }

    /// Moves what is being copied to the other node; commits first, as a node does.
    fn hand_off(&mut self, keeps_it: bool) {
        let Some(mut copy) = self.copy.take() else {
            return;
        };
        let moved: Vec<Slot> = copy.export.slots().iter().collect();
        let from = self.owners[moved[0].index()];
        let to = if keeps_it { from } else { 1 - from };
        let real_us = self.real_us;
        let old = &mut self.nodes[from];
        let served = old
            .table
            .export_rest(&mut copy.export, &old.disk, &mut Vec::new());
        let void = matches!(served, Err(ExportError::Void(_)));
        assert!(void || matches!(served, Err(ExportError::StillServed(_))));
        if void {
            return;
        }
        old.table.freeze(copy.export.slots(), old.clock(real_us));
        old.commit(old.clock(real_us));
        let mut rows = Vec::new();
        while old
            .table
            .export_rest(&mut copy.export, &old.disk, &mut rows)
            .unwrap()
        {
            take_all(&mut copy, std::mem::take(&mut rows));
            old.table.sweep(old.clock(real_us));
        }
        self.real_us += 333;
        for (slot, digest, clock) in copy.export.digests().unwrap() {
            assert_eq!(clock, self.nodes[from].table.slot_now(slot, SlotTime::ZERO));
            assert_eq!(digest, self.nodes[from].digest(slot, clock));
            let staging = copy.staging.remove(&slot).unwrap();
            let rows = staging.finish(clock, digest).unwrap();
            let epoch = self.next_epoch(to);
            let now = self.nodes[to].clock(self.real_us);
            if keeps_it {
                let mark = self.nodes[to].table.mark_of_own(slot, epoch, clock, now);
                self.nodes[to].marks.insert(slot, SlotMark::Installed(mark));
                self.nodes[to].table.install_own(slot, &mark);
            } else {
                let installed = Installed::new(epoch, epoch, clock, now);
                self.nodes[to].install(slot, &rows, installed);
                self.nodes[from].drop_slot(slot);
            }
            self.nodes[to].table.serve(slot, epoch).unwrap();
            self.owners[slot.index()] = to;
        }
    }

    /// Commits, crashes, recovers, and makes the node's slots its own anew.
    fn restart(&mut self, n: usize) {
        let real_us = self.real_us;
        let node = &mut self.nodes[n];
        let before: Vec<_> = slots().map(|slot| node.table.position(slot)).into();
        node.commit(node.clock(real_us));
        node.restart(&self.limits, node.clock(real_us));
        for slot in slots() {
            let held = self.owners[slot.index()] == n;
            assert_eq!(self.nodes[n].table.holds(slot), held);
            if !held {
                continue;
            }
            let at = self.nodes[n].table.position(slot);
            assert_eq!(at.epoch, before[slot.index()].epoch);
            let refused = self.nodes[n].table.serve(slot, at.epoch);
            assert!(matches!(refused, Err(NotInstalled { .. })), "from memory");
            let (epoch, now) = (self.next_epoch(n), self.nodes[n].clock(real_us));
            let clock = self.nodes[n].table.slot_now(slot, now);
            let mark = self.nodes[n].table.mark_of_own(slot, epoch, clock, now);
            self.nodes[n].marks.insert(slot, SlotMark::Installed(mark));
            self.nodes[n].table.install_own(slot, &mark);
            self.nodes[n].table.serve(slot, epoch).unwrap();
        }
    }

    fn ask<T>(
        &mut self,
        key: u8,
        cost: u64,
        ask: impl Fn(&Table, SlotTime, &Asked<'_>) -> Ask<T>,
    ) -> T {
        let id = state_id(key);
        let n = self.owners[id.slot().index()];
        let mut absent_at = None;
        for _ in 0..4 {
            let node = &mut self.nodes[n];
            let now = node.clock(self.real_us);
            let asked = Asked {
                id,
                limits: &self.limits,
                shape: node.shape,
                cost,
                journaled: true,
                absent_at,
            };
            let full = match ask(&node.table, now, &asked) {
                Ask::Answer(answer) => return answer,
                Ask::Full => true,
                Ask::Cold(evictions) => {
                    let row = node.disk.rows.get(&id).cloned();
                    let thawed = node.table.thaw(id, row.as_deref(), evictions, now);
                    let thawed = thawed.unwrap();
                    if thawed == Thawed::Absent {
                        absent_at = Some(evictions);
                    }
                    thawed == Thawed::NoRoom
                }
            };
            if full {
                node.commit(now);
                node.checkpoint();
            }
        }
        panic!("the question about key {key} was never answered");
    }
}

fn take_all(copy: &mut Copy, rows: Vec<Row>) {
    for (id, row) in rows {
        let staging = copy.staging.get_mut(&id.slot()).unwrap();
        staging.take(id, row).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Do {
    Same(Step),
    BeginCopy(usize),
    CopyChunk,
    HandOff,
    TakeBack,
    Restart(usize),
}

fn act() -> impl Strategy<Value = Do> {
    prop_oneof![
        20 => step().prop_map(Do::Same),
        3 => (0..2usize).prop_map(Do::BeginCopy),
        4 => Just(Do::CopyChunk),
        2 => Just(Do::HandOff),
        1 => Just(Do::TakeBack),
        1 => (0..2usize).prop_map(Do::Restart),
    ]
}

type Model = BTreeMap<u8, (KeyState, Reservations, Option<Grant>)>;

impl Cluster {
    fn act(&mut self, model: &mut Model, act: Do) {
        match act {
            Do::BeginCopy(n) => self.begin_copy(n),
            Do::CopyChunk => self.copy_chunk(),
            Do::HandOff => self.hand_off(false),
            Do::TakeBack => self.hand_off(true),
            Do::Restart(n) => self.restart(n),
            Do::Same(step) => self.step(model, step),
        }
    }

    fn step(&mut self, model: &mut Model, step: Step) {
        let real_us = self.real_us;
        match step {
            Step::Wait(ms) => self.real_us += ms * 997,
            Step::Commit => self
                .nodes
                .iter_mut()
                .for_each(|n| n.commit(n.clock(real_us))),
            Step::Checkpoint => self.nodes.iter_mut().for_each(Node::checkpoint),
            Step::Sweep | Step::Restart => {
                for node in &self.nodes {
                    node.table.sweep(node.clock(real_us));
                    node.table.make_room(node.clock(real_us));
                }
            }
            Step::Check { key, cost } => self.check(model, key, cost),
            Step::Refund { key, cost } => {
                let now = self.slot_now(state_id(key).slot());
                let (state, _, last) = model.entry(key).or_default();
                let Some(grant) = last.take() else { return };
                let cost = cost.min(grant.cost);
                let grant = Grant { cost, ..grant };
                let expected = state.refund(&self.limits, grant, now);
                let refund = Change::Refund(grant);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, refund));
                assert_eq!(got, Ok(expected));
            }
            Step::Reserve { key, cost } => self.reserve(model, key, cost),
            Step::Settle { key, actual } => {
                let now = self.slot_now(state_id(key).slot());
                let id = ReservationId(u64::from(key));
                let (state, open, _) = model.entry(key).or_default();
                let expected = open.settle(state, &self.limits, id, actual, now);
                let settle = Change::Settle(id, actual);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, settle));
                assert_eq!(got.is_ok(), expected.is_ok());
            }
            Step::Reset { key } => {
                model.remove(&key);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Reset));
                assert!(got.is_ok());
            }
        }
    }

    fn check(&mut self, model: &mut Model, key: u8, cost: u64) {
        let now = self.slot_now(state_id(key).slot());
        let (state, _, last) = model.entry(key).or_default();
        let expected = state.check(&self.limits, cost, now).unwrap();
        let got = self.ask(key, cost, |t, now, asked| outcome(t.check_one(now, asked)));
        let Outcome::Decided { verdict, at, .. } = got else {
            panic!("{got:?}")
        };
        assert_eq!((verdict, at), (expected, now));
        if verdict.granted && cost > 0 {
            *last = Some(Grant { at: now, cost });
        }
    }

    fn reserve(&mut self, model: &mut Model, key: u8, cost: u64) {
        let now = self.slot_now(state_id(key).slot());
        let reserve = Reserve {
            id: ReservationId(u64::from(key)),
            ttl_ms: 300,
        };
        let (state, open, _) = model.entry(key).or_default();
        if open.open_at(now).count() > 0 {
            return;
        }
        let expected = state.check(&self.limits, cost, now).unwrap();
        if expected.granted {
            let entry = Open {
                id: reserve.id,
                grant: Grant { at: now, cost },
                expires_at: now.plus_ms(300),
            };
            open.remember(entry, now);
        }
        let got = self.ask(key, cost, |t, now, asked| {
            outcome(t.reserve(now, asked, reserve).unwrap())
        });
        let Outcome::Decided { verdict, .. } = got else {
            panic!("{got:?}")
        };
        assert_eq!(verdict, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_hand_off_changes_an_answer_or_lets_a_clock_gain_on_real_time(
        acts in prop::collection::vec(act(), 1..200),
        two_limits in any::<bool>(),
        keys_max in 2..14u64,
        slow in prop::array::uniform2(0..50u64),
    ) {
        let mut all = vec![Limit::new(70, 600).unwrap()];
        if two_limits {
            all.push(Limit::new(20, 150).unwrap());
        }
        let limits = Limits::new(all).unwrap();
        let mut cluster = Cluster::new(limits.clone(), keys_max, slow);
        let mut model = Model::new();
        for act in acts {
            cluster.act(&mut model, act);
        }
        for (key, (state, ..)) in model {
            let now = cluster.slot_now(state_id(key).slot());
            let got = cluster.ask(key, 0, |t, now, asked| outcome(t.peek(now, asked)));
            let Outcome::Decided { verdict, .. } = got else { panic!("{got:?}") };
            prop_assert_eq!(verdict, state.peek(&limits, 0, now).unwrap());
        }
    }

    #[test]
    fn a_clock_that_is_handed_on_again_and_again_gains_nothing(
        moves in prop::collection::vec((0..3usize, 0..2500u64), 1..60),
        starts_at_us in prop::array::uniform3(0..10_000_000u64),
    ) {
        let show = |n: usize, real_us: u64| SlotTime::from_ms((starts_at_us[n] + real_us) / 1000);
        let [slot, _] = slots();
        let capacity = Capacity { keys_max: 1, bytes_max: 1, evicts: true };
        let tables = [1, 2, 3].map(|n| Table::new(capacity, 1, NodeId(n), Arc::default()));
        let (mut real_us, mut clock, mut owner) = (0, SlotTime::ZERO, None::<usize>);
        for (counter, (to, waits_us)) in moves.into_iter().enumerate() {
            if let Some(from) = owner {
                let frozen: SlotSet = [slot].into_iter().collect();
                tables[from].freeze(&frozen, show(from, real_us));
                let before = clock;
                clock = tables[from].slot_now(slot, show(from, real_us));
                prop_assert!(clock >= before);
                prop_assert!(clock.as_ms() * 1000 <= real_us, "{clock} after {real_us} us");
            }
            let epoch = Epoch { counter: counter as u64, node: NodeId(to as u128 + 1) };
            let installed = Installed::new(epoch, epoch, clock, show(to, real_us));
            tables[to].install(tables[to].prepare(slot, &[]).unwrap(), &installed);
            tables[to].serve(slot, epoch).unwrap();
            owner = Some(to);
            real_us += waits_us;
        }
    }
}

fn alone() -> (Table, Limits) {
    let capacity = Capacity {
        keys_max: 100,
        bytes_max: u64::MAX,
        evicts: true,
    };
    (
        open_table(capacity, 1, 1),
        Limits::from(Limit::new(5, 1000).unwrap()),
    )
}

fn asked<'a>(table: &Table, limits: &'a Limits, key: u8) -> Asked<'a> {
    Asked {
        id: state_id(key),
        limits,
        shape: table.shapes.intern(Shape::of(limits)).unwrap(),
        cost: 1,
        journaled: true,
        absent_at: None,
    }
}

#[test]
fn a_frozen_slot_answers_nothing_and_its_neighbours_go_on() {
    let (table, limits) = alone();
    let [slot, other] = slots();
    let now = SlotTime::from_ms(50);
    table.freeze(&[slot].into_iter().collect(), now);
    assert!(!table.is_served(slot) && table.is_served(other));
    let asked_of = |key| asked(&table, &limits, key);
    assert_eq!(table.check_one(now, &asked_of(2)), Outcome::NotServed);
    assert_eq!(table.peek(now, &asked_of(2)), Outcome::NotServed);
    let reserve = Reserve {
        id: ReservationId(1),
        ttl_ms: 5,
    };
    assert_eq!(
        table.reserve(now, &asked_of(2), reserve),
        Ok(Outcome::NotServed)
    );
    assert_eq!(
        table.change(now, &asked_of(2), Change::Reset),
        Err(ChangeError::NotServed)
    );
    assert_eq!(
        table.inspect(now, &asked_of(2)),
        Err(ChangeError::NotServed)
    );
    let later = now.plus_ms(1000);
    assert_eq!(table.slot_now(slot, later), now, "its clock stands");
    assert!(matches!(
        table.check_one(later, &asked_of(1)),
        Outcome::Decided { .. }
    ));
    let at = table.position(slot).epoch;
    assert!(table.serve(slot, at).is_err(), "a sealed reign is over");
}

#[test]
fn a_dropped_slot_leaves_nothing_behind() {
    let (table, limits) = alone();
    let now = SlotTime::from_ms(50);
    for key in 0..20 {
        table.check_one(now, &asked(&table, &limits, key));
    }
    table.quarantine(state_id(22), now);
    let kept: Vec<StateId> = (0..20).filter(|key| key % 2 == 1).map(state_id).collect();
    table.drop_slot(slots()[0]);
    let stripe = table.lock(state_id(0));
    let mut ids: Vec<StateId> = stripe.records.iter().map(|record| record.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, kept);
    assert!(stripe.quarantine.is_empty());
    drop(stripe);
    assert_eq!(table.counters().keys, 10);
    let mut record = Vec::new();
    table.take_commit(now, &mut record);
    let mut committed = Vec::new();
    crate::limiter::commit_record::read(&record, |entry| committed.push(entry.id)).unwrap();
    assert_eq!(committed, kept);
    assert_eq!(
        table.position(slots()[0]),
        crate::types::Position::default()
    );
}

#[test]
fn quarantine_moves_with_the_slot_and_ends_by_its_clock() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let now = SlotTime::from_ms(400);
    for key in [2, 4] {
        table.check_one(now, &asked(&table, &limits, key));
    }
    table.quarantine(state_id(4), now);
    let mut export = table.begin_export([slot].into_iter().collect());
    let (mut rows, disk) = (Vec::new(), Disk::default());
    while table.export_copy(&mut export, &disk, &mut rows).unwrap() {}
    table.freeze(export.slots(), now);
    while table.export_rest(&mut export, &disk, &mut rows).unwrap() {}
    let (_, digest, clock) = export.digests().unwrap()[0];
    assert_eq!((digest.count, clock), (2, now));
    let mut staging = Staging::new(slot, 1 << 20);
    for (id, row) in rows {
        staging.take(id, row).unwrap();
    }
    let rows = staging.finish(clock, digest).unwrap();

    let (other, _) = alone();
    let (epoch, install_at) = (epoch(9), SlotTime::from_ms(90_000));
    let installed = Installed::new(epoch, epoch, clock, install_at);
    other.install(other.prepare(slot, &rows).unwrap(), &installed);
    other.serve(slot, epoch).unwrap();
    let check = |key, after_ms| {
        let now = install_at.plus_ms(after_ms);
        other.check_one(now, &asked(&other, &limits, key))
    };
    let granted = |outcome| matches!(outcome, Outcome::Decided { verdict, .. } if verdict.granted);
    assert!(granted(check(2, 0)));
    assert_eq!(
        check(4, 1),
        Outcome::Quarantined {
            retry_after_ms: 1001
        }
    );
    assert!(granted(check(4, 1003)));
}

#[test]
fn a_slot_whose_state_is_lost_denies_all_its_keys_for_one_window() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let (epoch, now) = (epoch(9), SlotTime::from_ms(400));
    let id = StateId::first_of(slot);
    let row = crate::limiter::codec::quarantine_row(id, SlotTime::ZERO);
    assert!(decode_row(id, &row).is_ok());
    let installed = Installed::new(epoch, epoch, SlotTime::ZERO, now);
    table.install(table.prepare(slot, &[(id, row)]).unwrap(), &installed);
    table.serve(slot, epoch).unwrap();
    let check = |key, at_ms| {
        let at = SlotTime::from_ms(at_ms);
        table.check_one(at, &asked(&table, &limits, key))
    };
    for key in [2, 4] {
        let outcome = check(key, 1401);
        assert_eq!(outcome, Outcome::Quarantined { retry_after_ms: 1 });
    }
    assert!(matches!(check(1, 1401), Outcome::Decided { .. }));
    assert!(matches!(check(2, 1402), Outcome::Decided { .. }));
}

#[test]
fn a_lost_or_altered_row_is_noticed_by_the_receiver() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let now = SlotTime::from_ms(400);
    for key in [2, 4, 6] {
        table.check_one(now, &asked(&table, &limits, key));
    }
    table.freeze(&[slot].into_iter().collect(), now);
    let mut export = table.begin_export([slot].into_iter().collect());
    let (mut rows, disk) = (Vec::new(), Disk::default());
    while table.export_rest(&mut export, &disk, &mut rows).unwrap() {}
    let (_, digest, clock) = export.digests().unwrap()[0];
    for skipped in 0..=rows.len() {
        let mut staging = Staging::new(slot, 1 << 20);
        for (n, (id, row)) in rows.iter().enumerate() {
            if n != skipped {
                staging.take(*id, row.clone()).unwrap();
            }
        }
        let finished = staging.finish(clock, digest);
        let whole = skipped == rows.len();
        assert_eq!(finished.is_ok(), whole);
        assert!(whole || matches!(finished, Err(StagingError::Mismatch { .. })));
    }
}

#[test]
fn a_change_takes_the_mark_of_a_copy_off() {
    let (table, limits) = alone();
    let now = SlotTime::from_ms(400);
    table.check_one(now, &asked(&table, &limits, 2));
    let mut export = table.begin_export([slots()[0]].into_iter().collect());
    let disk = Disk::default();
    while table
        .export_copy(&mut export, &disk, &mut Vec::new())
        .unwrap()
    {}
    let is_copied = || {
        let stripe = table.lock(state_id(2));
        let state = stripe.records.get(state_id(2)).unwrap();
        state.marks.has(Marks::COPIED)
    };
    assert!(is_copied());
    table.peek(now, &asked(&table, &limits, 2));
    assert!(is_copied());
    table.check_one(now, &asked(&table, &limits, 2));
    assert!(!is_copied());
}

#[test]
fn a_row_that_was_read_before_its_slot_was_replaced_is_not_taken_in() {
    let (table, limits) = alone();
    let (slot, now) = (slots()[0], SlotTime::from_ms(400));
    let mut full = KeyState::new();
    full.check(&limits, 5, now).unwrap();
    let shape = Shape::of(&limits);
    let row = encode_row(state_id(2), &full, &shape, &Reservations::default());
    table.note_evicted(slot, now.plus_ms(9000));
    let cold = table.check_one(now, &asked(&table, &limits, 2));
    let Outcome::Cold { evictions } = cold else {
        panic!("{cold:?}")
    };
    let installed = Installed::new(epoch(9), epoch(9), now, now);
    table.install(table.prepare(slot, &[]).unwrap(), &installed);
    table.serve(slot, epoch(9)).unwrap();
    let thawed = table.thaw(state_id(2), Some(&row), evictions, now);
    assert_eq!(thawed, Ok(Thawed::Here));
    let verdict = table.check_one(now, &asked(&table, &limits, 2));
    assert!(matches!(verdict, Outcome::Decided { verdict, .. } if verdict.remaining == 4));
}
