//! The door of the owner's side.
//!
//! Commits are told in the order of their numbers. A slot is told to be served before the table
//! serves it, and to be stopped after the table has frozen it: then every commit of a reign is told
//! while the slot is served in it.

use super::classes::Classes;
use super::losses::Losses;
use super::parts::Parts;
use super::peers::{Peers, UNSYNCED_ASK};
use super::served::{COPIES_MAX, CopyAt, Served, Standing};
use crate::replication::marks::{Goal, Marks};
use crate::replication::refusal::{Refusal, Refusals};
use crate::replication::report::{Report, Reports};
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Position, SLOT_COUNT, Slot, SlotSet};

/// A peer, for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerView {
    /// Who.
    pub(crate) node: NodeId,
    /// Whether its link is up.
    pub(crate) linked: bool,
    /// Commits that were sent and are not acknowledged.
    pub(crate) owed: usize,
    /// Commits that were sent and are not synced.
    pub(crate) unsynced: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(super) me: NodeId,
    /// The highest commit that was told.
    pub(super) number: u64,
    pub(super) replicated: Marks,
    pub(super) slots: Vec<Option<Box<Served>>>,
    pub(super) peers: Peers,
    pub(super) classes: Classes,
    /// Slots that have no majority, but not for long.
    pub(super) missing: SlotSet,
    /// What they hold the watermark back to; none if it has to be found out anew.
    pub(super) missing_floor: Option<Marks>,
    /// Slots that have had no majority for too long.
    pub(super) without: SlotSet,
    pub(super) losses: Losses,
    pub(super) reports: Reports,
    pub(super) refusals: Refusals,
}

impl Tracker {
    /// Nothing is served by `me`, and nobody is connected.
    pub(crate) fn new(me: NodeId) -> Self {
        Self {
            me,
            number: 0,
            replicated: Marks::default(),
            slots: (0..SLOT_COUNT).map(|_| None).collect(),
            peers: Peers::default(),
            classes: Classes::default(),
            missing: SlotSet::EMPTY,
            missing_floor: None,
            without: SlotSet::EMPTY,
            losses: Losses::default(),
            reports: Reports::default(),
            refusals: Refusals::default(),
        }
    }

    /// The slot is served as chosen from now on, after its stop: none of its commits is told yet, and
    /// all tickets up to now are of earlier reigns. Replicas named `in_sync` have its state as it is
    /// and take in what comes: they said that they had become the reign's, and had followed before.
    pub(crate) fn serve(&mut self, slot: Slot, chosen: &Configuration, in_sync: &[NodeId]) {
        self.give_up(slot);
        self.losses.close(slot, self.number);
        if chosen.owner != self.me {
            return;
        }
        let served = Served::new((self.me, self.number), chosen, in_sync, &mut self.peers);
        if served.needed > 0 {
            self.missing.insert(slot);
            self.missing_floor = None;
        }
        if let Some(place) = self.slots.get_mut(slot.index()) {
            *place = Some(Box::new(served));
        }
        self.begin_in_sync(slot);
        self.rank(slot);
        self.advance();
    }

    /// The slots are not served any more: sealed, dropped, or another's. What is outstanding of them
    /// is lost.
    pub(crate) fn stop(&mut self, slots: &SlotSet) {
        slots.iter().for_each(|slot| self.give_up(slot));
        self.advance();
    }

    /// A link to `peer` is up: from here on it gets the commits of all slots that it is a replica of.
    /// Nothing that it said on an earlier link counts any more (R6).
    pub(crate) fn connected(&mut self, peer: NodeId, link: u64) {
        let Some(place) = self.peers.place(peer) else {
            return;
        };
        if let Some(old) = self.peers.get(place).and_then(|it| it.link) {
            self.lost(peer, old);
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.relink(Some(link));
        }
        for served in self.slots.iter_mut().flatten() {
            let n = served.n;
            if let Some(copy) = served.copy_mut(place) {
                copy.fed = true;
                copy.from = n;
            }
        }
    }

    /// The link is lost, and with it all that was on its way.
    pub(crate) fn lost(&mut self, peer: NodeId, link: u64) {
        let Ok(place) = self.peers.linked(peer, link) else {
            return;
        };
        for slot in Slot::all() {
            let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
                continue;
            };
            let Some(copy) = served.copy_mut(place) else {
                continue;
            };
            copy.fed = false;
            if std::mem::take(&mut copy.in_sync) {
                self.reports.out_of_sync(peer, slot);
                // While the peer's marks still say what it had acknowledged.
                self.rank(slot);
            }
            if let Some(Some(served)) = self.slots.get_mut(slot.index()) {
                served.copies.retain(|copy| copy.counts || copy.fed);
            }
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.relink(None);
        }
        self.advance();
    }

    /// The peer gets every commit of these slots from here on: it learns, or catches up.
    pub(crate) fn feed(&mut self, peer: NodeId, link: u64, slots: &SlotSet) {
        let place = match self.peers.linked(peer, link) {
            Ok(place) => place,
            Err(refusal) => return self.refusals.add(refusal),
        };
        for slot in slots.iter() {
            let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
                self.refusals.add(Refusal::NotServed);
                continue;
            };
            let (n, is_full) = (served.n, served.copies.len() >= COPIES_MAX);
            match served.copy_mut(place) {
                Some(copy) if copy.fed => {}
                Some(copy) => {
                    copy.fed = true;
                    copy.from = n;
                }
                None if is_full => self.refusals.add(Refusal::Busy),
                None => served.copies.push(CopyAt {
                    peer: place,
                    counts: false,
                    fed: true,
                    from: n,
                    in_sync: false,
                }),
            }
        }
    }

    /// The slots whose commits go to the peer on this link, and their reigns.
    pub(crate) fn given(&self, peer: NodeId, link: u64) -> Vec<(Slot, Epoch)> {
        let Ok(place) = self.peers.linked(peer, link) else {
            return Vec::new();
        };
        let served = Slot::all().zip(&self.slots);
        let given = served.filter_map(|(slot, served)| {
            let served = served.as_deref()?;
            let mut copies = served.copies.iter();
            let is_given = copies.any(|copy| copy.peer == place && copy.fed);
            is_given.then_some((slot, served.epoch))
        });
        given.collect()
    }

    /// O2: a commit was taken and is about to be written; what of it goes to whom. Nothing is told of
    /// slots that are not served.
    pub(crate) fn committed(
        &mut self,
        number: u64,
        groups: &[(Slot, Position)],
        parts: &mut Parts,
    ) {
        parts.clear();
        for (group, (slot, at)) in groups.iter().enumerate() {
            let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
                continue;
            };
            if at.epoch != served.epoch {
                // Of a reign that has ended: nobody may be told that it was granted.
                if served.needed > 0 {
                    self.losses.add(*slot, self.number, number);
                }
                continue;
            }
            served.n = Some(at.n);
            for copy in served.copies.iter_mut().filter(|copy| copy.fed) {
                copy.from.get_or_insert_with(|| at.n.saturating_sub(1));
                let Some(peer) = self.peers.get_mut(copy.peer) else {
                    continue;
                };
                let Some(link) = peer.link else { continue };
                let part = *peer
                    .part
                    .get_or_insert_with(|| parts.begin(peer.node, link));
                parts.add(part, group);
            }
            self.note(*slot, number);
        }
        let before = self.number;
        self.number = before.max(number);
        self.send(number, before, parts);
        self.advance();
    }

    /// Notes on each link that the commit is sent there.
    fn send(&mut self, number: u64, before: u64, parts: &mut Parts) {
        for peer in self.peers.iter_mut() {
            if peer.part.take().is_some()
                && !peer.send(number, before)
                && let Some(link) = peer.link
            {
                parts.full.push((peer.node, link));
            }
        }
        for n in 0..parts.full.len() {
            if let Some((peer, link)) = parts.full.get(n).copied() {
                self.lost(peer, link);
            }
        }
    }

    /// A commit was taken in which nothing had changed, or a number was seen to be taken.
    pub(crate) fn taken(&mut self, number: u64) {
        self.number = self.number.max(number);
        self.advance();
    }

    /// A group of the commit that was told last does not go to the peer after all: it has to catch up.
    pub(crate) fn skipped(&mut self, peer: NodeId, link: u64, slot: Slot) {
        let Ok(place) = self.peers.linked(peer, link) else {
            return;
        };
        if let Some(Some(served)) = self.slots.get_mut(slot.index()) {
            let n = served.n;
            if let Some(copy) = served.copy_mut(place) {
                copy.from = n;
            }
        }
        self.fall_behind(place, slot);
        self.reports.behind(peer, link, slot);
        self.advance();
    }

    /// Up to which commit all slots that have a majority are on one.
    pub(crate) const fn replicated(&self) -> Marks {
        self.replicated
    }

    /// Whether the slot has a majority, or has been without one for a moment only.
    pub(crate) fn has_majority(&self, slot: Slot) -> bool {
        !self.without.contains(slot)
    }

    /// The slots that have been without a majority for too long.
    pub(crate) const fn without_majority(&self) -> &SlotSet {
        &self.without
    }

    /// Whether commits of one of these slots are not on a majority yet, as far as `goal` asks. Those that
    /// are lost will never be.
    pub(crate) fn is_outstanding(&self, slots: &SlotSet, goal: Goal) -> bool {
        let served = |slot: Slot| self.slots.get(slot.index())?.as_deref();
        let mut served = slots.iter().filter_map(served);
        served.any(|it| match it.standing {
            Standing::Alone | Standing::Without => false,
            Standing::Majority(class) => {
                it.last > self.classes.reached(class, &self.peers).of(goal)
            }
            Standing::Missing { floor, .. } => it.last > floor.of(goal),
        })
    }

    /// Whether slots of several replicas are served, and none of them has had a majority for long: then
    /// this node reaches nobody, and others may have taken its slots over.
    pub(crate) fn is_cut_off(&self) -> bool {
        let mut shared = self.slots.iter().flatten().filter(|it| it.needed > 0);
        !self.without.is_empty() && shared.all(|it| it.standing == Standing::Without)
    }

    /// Whether the slot's ticket is lost for who waits for `goal`: nobody may be told that it grants.
    pub(crate) fn is_lost(&self, slot: Slot, ticket: u64, goal: Goal) -> bool {
        self.losses.has(slot, ticket, goal)
    }

    /// No ticket of the slot above this one is lost.
    pub(crate) fn lost_through(&self, slot: Slot) -> u64 {
        self.losses.through(slot)
    }

    /// The slots of which something about majorities or lost tickets has changed since this was asked
    /// last.
    pub(crate) fn take_touched(&mut self) -> Option<SlotSet> {
        self.losses.take_touched()
    }

    /// Time has passed; told at least every 100 ms.
    pub(crate) fn tick(&mut self, now: MonoTime) {
        self.expire(now);
        self.advance();
    }

    /// The peers that are to be asked to sync, their links, and up to which number: those that have
    /// too much unsynced, or if somebody waits for a sync, all that have anything. Each number is
    /// asked for once.
    pub(crate) fn ask_sync(&mut self, somebody_waits: bool, ask: &mut Vec<(NodeId, u64, u64)>) {
        for peer in self.peers.iter_mut() {
            let is_wanted = somebody_waits || peer.unsynced() >= UNSYNCED_ASK;
            let Some(link) = peer.link else { continue };
            if is_wanted && peer.unsynced() > 0 && peer.sent > peer.sync_asked {
                peer.sync_asked = peer.sent;
                ask.push((peer.node, link, peer.sent));
            }
        }
    }

    /// What the ownership is to be told.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        self.reports.take()
    }

    /// What was refused of what peers said.
    pub(crate) const fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// The peers, for the status.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.peers.iter().map(|peer| PeerView {
            node: peer.node,
            linked: peer.link.is_some(),
            owed: peer.owed(),
            unsynced: peer.unsynced(),
        })
    }
}
