//! Two tables with a store and a clock each, and slots that go to and fro between them.

use std::collections::BTreeMap;

use super::*;
use crate::limiter::codec::{encode_row, expires_at};
use crate::limiter::installed::{Installed, SlotMark};
use crate::limiter::table::{ExportError, NotInstalled, SlotExport, StoredRows};
use crate::limiter::transfer::{Row, SlotDigest, Staging, row_hash};
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
pub(super) struct Node {
    id: NodeId,
    pub(super) table: Table,
    disk: Disk,
    marks: BTreeMap<Slot, SlotMark>,
    shape: ShapeId,
    /// What its clock shows at real time 0, and how slow it is in thousandths.
    starts_at_us: u64,
    slow: u64,
}

impl Node {
    pub(super) fn new(
        id: u128,
        capacity: Capacity,
        limits: &Limits,
        starts_at_us: u64,
        slow: u64,
    ) -> Self {
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

    pub(super) fn clock(&self, real_us: u64) -> SlotTime {
        SlotTime::from_ms((self.starts_at_us + real_us - real_us * self.slow / 1000) / 1000)
    }

    pub(super) fn commit(&mut self, now: SlotTime) {
        let mut record = Vec::new();
        let taken = self.table.take_commit(now, &mut record);
        if !taken.empty {
            self.disk.journal.insert(taken.number, record);
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let committed = self.table.open_commit.load(Ordering::SeqCst) - 1;
        let (mut cursor, mut rows) = (UnsavedCursor::default(), Vec::new());
        while self.table.unsaved(&mut cursor, &mut rows) {
            self.disk.rows.extend(rows.iter().cloned());
            self.table.saved(&rows);
            rows.clear();
        }
        self.disk.journal.retain(|number, _| *number > committed);
    }

    pub(super) fn restart(&mut self, limits: &Limits, now: SlotTime) {
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

    pub(super) fn install(&mut self, slot: Slot, rows: &[Row], installed: Installed) {
        let prepared = self.table.prepare(slot, rows).unwrap();
        self.disk.rows.retain(|id, _| id.slot() != slot);
        self.disk.rows.extend(rows.iter().cloned());
        self.marks.insert(slot, SlotMark::Installed(installed));
        self.table.install(prepared, &installed);
    }

    pub(super) fn drop_slot(&mut self, slot: Slot) {
        self.disk.rows.retain(|id, _| id.slot() != slot);
        self.marks.insert(slot, SlotMark::Dropped);
        self.table.drop_slot(slot);
    }

    /// The digest of all that counts in a frozen slot, from memory and disk.
    pub(super) fn digest(&self, slot: Slot, clock: SlotTime) -> SlotDigest {
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
pub(super) struct Copy {
    export: SlotExport,
    staging: BTreeMap<Slot, Staging>,
}

pub(super) struct Cluster {
    pub(super) nodes: [Node; 2],
    pub(super) limits: Limits,
    pub(super) real_us: u64,
    /// Of each of the two slots: its owner.
    owners: [usize; 2],
    epochs: u64,
    copy: Option<Copy>,
    /// Of each slot, when it was asked last, really and by its clock.
    asked: [Option<(u64, SlotTime)>; 2],
}

pub(super) fn slots() -> [Slot; 2] {
    [0, 1].map(|n| Slot::new(n).unwrap())
}

impl Cluster {
    pub(super) fn new(limits: &Limits, keys_max: u64, slow: [u64; 2]) -> Self {
        let capacity = Capacity {
            keys_max,
            bytes_max: u64::MAX,
            evicts: true,
        };
        let node = |n, at| Node::new(n, capacity, limits, at, slow[usize::from(n > 1)]);
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
            let installed = Installed::new(start_of(epoch), start_of(epoch), SlotTime::ZERO, now);
            cluster.nodes[0].install(slot, &[], installed);
            cluster.nodes[0].table.serve(slot, epoch).unwrap();
        }
        cluster
    }

    pub(super) fn next_epoch(&mut self, n: usize) -> Epoch {
        self.epochs += 1;
        Epoch {
            counter: self.epochs,
            node: self.nodes[n].id,
        }
    }

    pub(super) fn owned_by(&self, n: usize) -> Vec<Slot> {
        let owned = slots().into_iter().zip(self.owners);
        owned
            .filter(|(_, owner)| *owner == n)
            .map(|it| it.0)
            .collect()
    }

    /// What the slot's clock shows, which is shown to have gained nothing on real time.
    pub(super) fn slot_now(&mut self, slot: Slot) -> SlotTime {
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

    pub(super) fn begin_copy(&mut self, n: usize) {
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

    pub(super) fn copy_chunk(&mut self) {
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
    pub(super) fn hand_off(&mut self, keeps_it: bool) {
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
                let mark = self.nodes[to]
                    .table
                    .mark_of_own((slot, start_of(epoch)), 0, clock, now);
                self.nodes[to].marks.insert(slot, SlotMark::Installed(mark));
                self.nodes[to].table.install_own(slot, &mark);
            } else {
                let installed = Installed::new(start_of(epoch), start_of(epoch), clock, now);
                self.nodes[to].install(slot, &rows, installed);
                self.nodes[from].drop_slot(slot);
            }
            self.nodes[to].table.serve(slot, epoch).unwrap();
            self.owners[slot.index()] = to;
        }
    }

    /// Commits, crashes, recovers, and makes the node's slots its own anew.
    pub(super) fn restart(&mut self, n: usize) {
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
            let mark = self.nodes[n]
                .table
                .mark_of_own((slot, start_of(epoch)), 0, clock, now);
            self.nodes[n].marks.insert(slot, SlotMark::Installed(mark));
            self.nodes[n].table.install_own(slot, &mark);
            self.nodes[n].table.serve(slot, epoch).unwrap();
        }
    }

    pub(super) fn ask<T>(
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

pub(super) fn take_all(copy: &mut Copy, rows: Vec<Row>) {
    for (id, row) in rows {
        let staging = copy.staging.get_mut(&id.slot()).unwrap();
        staging.take(id, row).unwrap();
    }
}
