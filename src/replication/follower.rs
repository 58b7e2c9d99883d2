//! The replica's side of one link: what of an owner's commits is applied, kept for later, or refused.
//!
//! A slot *follows* or is *behind*. What comes of a slot that is behind is kept, of the newest reign
//! seen, until its state has caught up; then [`Follower::follow`] hands it back in order. What is kept
//! is bounded; where there is no more room a slot's commits are refused until it catches up anew.
//!
//! An acknowledgement says that all is applied but what it names as refused; so what is only kept is
//! named there too, lest an owner that takes the slot for in sync count it. And what came and was
//! given up again is remembered: a state that lacks it never follows.
//!
//! Whether a group may be applied is decided by the table (R1), under its lock. The follower keeps
//! order, and says nothing is whole that is not.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{Epoch, NodeId, Position, SLOT_COUNT, Slot, SlotSet, SlotTime};

/// Most bytes that are kept for later, of one link: what an owner commits in some seconds.
pub(crate) const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that a kept group takes besides its own.
const GROUP_OVERHEAD_BYTES: usize = 96;

/// One slot's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// What it brings the slot's state to.
    pub(crate) at: Position,
    /// The slot's clock at the commit.
    pub(crate) clock: SlotTime,
    /// The group as it came.
    pub(crate) bytes: Vec<u8>,
}

/// What is to be done with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Give it to the table, and say what it found by [`Follower::applied`].
    Apply,
    /// Nothing: it is kept until the slot has caught up, or is known already. Until then it is told as
    /// refused.
    Kept,
    /// Nothing: it is refused.
    Refused,
}

/// What the table found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is applied, now or before.
    #[cfg_attr(
        not(any(test, feature = "internals")),
        expect(dead_code, reason = "a link tells only of what was not")
    )]
    Done,
    /// A commit before it is missing, or it is of another reign.
    Gap,
    /// The slot takes nothing in: it is not held, or was sealed.
    Closed,
}

/// A commit is missing between the state and what was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} has a gap behind its commit {at:?}; it catches up anew")]
pub(crate) struct Gap {
    /// Of which slot.
    pub(crate) slot: Slot,
    /// How far its state is.
    pub(crate) at: Position,
}

/// How a slot stands.
#[derive(Debug)]
enum Standing {
    /// Its state is here, in this reign, and takes in what comes.
    Follows(Epoch),
    /// Its state lacks something.
    Behind(Box<Backlog>),
}

/// What was kept of a slot: commits of one reign, without a gap.
#[derive(Debug, Default)]
struct Backlog {
    epoch: Epoch,
    groups: VecDeque<Group>,
    /// Something of this reign was not kept.
    has_gap: bool,
}

/// How each slot stands that a group came of: looked up for every group.
#[derive(Debug)]
struct Standings(Vec<Option<Standing>>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Follower {
    owner: NodeId,
    slots: Standings,
    /// The last commit of each slot that came since it last followed.
    unapplied: BTreeMap<Slot, Position>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    /// To be told to the ownership.
    behind: SlotSet,
    /// To be told to the owner.
    refused: SlotSet,
}

impl Follower {
    /// A new link from `owner`. All slots of its that are here are behind, whatever was followed on
    /// an earlier link (R6).
    pub(crate) fn new(owner: NodeId, behind: SlotSet) -> Self {
        Self {
            owner,
            slots: Standings::default(),
            unapplied: BTreeMap::new(),
            kept_bytes: 0,
            kept_bytes_max: KEPT_BYTES_MAX,
            behind,
            refused: SlotSet::EMPTY,
        }
    }

    /// A group has arrived.
    pub(crate) fn take(
        &mut self,
        slot: Slot,
        at: Position,
        clock: SlotTime,
        bytes: &[u8],
    ) -> Taken {
        if at.epoch.node != self.owner {
            return self.refuse(slot);
        }
        match self.slots.get(slot) {
            Some(Standing::Follows(epoch)) if at.epoch == *epoch => Taken::Apply,
            // The owner has given that reign up itself, and need not be told.
            Some(Standing::Follows(epoch)) if at.epoch < *epoch => Taken::Refused,
            Some(Standing::Behind(_)) => self.keep(slot, at, clock, bytes),
            Some(Standing::Follows(_)) | None => {
                self.fall_behind(slot);
                self.keep(slot, at, clock, bytes)
            }
        }
    }

    /// What the table found about a group that was to be applied. Where it could not be, it is kept
    /// or refused as [`Follower::take`] says; true if the slot's state has all up to it.
    pub(crate) fn applied(
        &mut self,
        slot: Slot,
        group: (Position, SlotTime, &[u8]),
        found: Found,
    ) -> bool {
        let (at, clock, bytes) = group;
        match found {
            Found::Done => return true,
            Found::Gap => {
                self.fall_behind(slot);
                self.keep(slot, at, clock, bytes);
            }
            Found::Closed => {
                self.fall_behind(slot);
                self.note_unapplied(slot, at);
            }
        }
        self.refused.insert(slot);
        false
    }

    /// The slot's state is here, at this position. Hands back what was kept above it, in order, to be
    /// applied before anything else of the slot; from then on the slot follows.
    ///
    /// # Errors
    /// [`Gap`]; the slot is behind still.
    pub(crate) fn follow(&mut self, slot: Slot, at: Position) -> Result<Vec<Group>, Gap> {
        let backlog = match self.slots.take(slot) {
            Some(Standing::Behind(backlog)) => backlog,
            Some(Standing::Follows(epoch)) if epoch == at.epoch => {
                self.slots.put(slot, Standing::Follows(epoch));
                return Ok(Vec::new());
            }
            Some(Standing::Follows(_)) | None => Box::default(),
        };
        self.kept_bytes = self.kept_bytes.saturating_sub(backlog.bytes());
        let unapplied = self.unapplied.get(&slot).copied().unwrap_or_default();
        if !backlog.continues(at) || !backlog.reaches(at, unapplied) {
            self.fall_behind(slot);
            return Err(Gap { slot, at });
        }
        self.unapplied.remove(&slot);
        self.behind.remove(slot);
        self.refused.remove(slot);
        self.slots.put(slot, Standing::Follows(at.epoch));
        let kept = backlog.groups.into_iter();
        let above = kept.filter(|group| group.at.epoch == at.epoch && group.at.n > at.n);
        Ok(above.collect())
    }

    /// These slots are about to catch up: what comes from here on is kept, whatever was refused
    /// before. The owner is told of those that followed, as of what was refused: what is only kept
    /// must not count.
    pub(crate) fn restart(&mut self, slots: &SlotSet) {
        for slot in slots.iter() {
            self.stop_following(slot);
            self.behind.remove(slot);
            let backlog = Standing::Behind(Box::default());
            self.slots.put(slot, backlog);
        }
    }

    /// These slots were sealed or dropped: they follow no more. The ownership knows; the owner is told
    /// as of what was refused.
    pub(crate) fn close(&mut self, slots: &SlotSet) {
        for slot in slots.iter() {
            self.stop_following(slot);
            self.behind.remove(slot);
        }
    }

    /// The slots that have fallen behind since this was asked last.
    pub(crate) fn behind(&mut self) -> SlotSet {
        std::mem::replace(&mut self.behind, SlotSet::EMPTY)
    }

    /// The slots of which something was not applied since this was asked last, for the next
    /// acknowledgement.
    pub(crate) fn take_refused(&mut self) -> SlotSet {
        std::mem::replace(&mut self.refused, SlotSet::EMPTY)
    }

    /// Whether the slot follows in this reign.
    pub(crate) fn follows(&self, slot: Slot, epoch: Epoch) -> bool {
        matches!(self.slots.get(slot), Some(Standing::Follows(of)) if *of == epoch)
    }

    /// Bytes that are kept for later.
    #[cfg(test)]
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    fn note_unapplied(&mut self, slot: Slot, at: Position) {
        let last = self.unapplied.entry(slot).or_default();
        *last = at.max(*last);
    }

    /// For the simulator, which must notice that this is done.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn forget_unapplied(&mut self, slot: Slot) {
        self.unapplied.remove(&slot);
    }

    /// Keeps a group of a slot that is behind, if there is room and it goes on from the last.
    fn keep(&mut self, slot: Slot, at: Position, clock: SlotTime, bytes: &[u8]) -> Taken {
        self.note_unapplied(slot, at);
        self.refused.insert(slot);
        let Some(Standing::Behind(backlog)) = self.slots.get_mut(slot) else {
            return self.refuse(slot);
        };
        if at.epoch > backlog.epoch {
            self.kept_bytes = self.kept_bytes.saturating_sub(backlog.bytes());
            **backlog = Backlog {
                epoch: at.epoch,
                ..Backlog::default()
            };
        }
        if at.epoch < backlog.epoch {
            return Taken::Refused;
        }
        if backlog.has_gap {
            return self.refuse(slot);
        }
        match backlog.groups.back().map(|last| last.at.n) {
            Some(last) if at.n <= last => return Taken::Kept,
            Some(last) if at.n.checked_sub(1) != Some(last) => return self.give_up(slot),
            Some(_) | None => {}
        }
        let size = bytes.len().saturating_add(GROUP_OVERHEAD_BYTES);
        if self.kept_bytes.saturating_add(size) > self.kept_bytes_max {
            return self.give_up(slot);
        }
        self.kept_bytes = self.kept_bytes.saturating_add(size);
        backlog.groups.push_back(Group {
            at,
            clock,
            bytes: bytes.to_vec(),
        });
        Taken::Kept
    }

    /// Keeps nothing more of the reign: it would have a gap.
    fn give_up(&mut self, slot: Slot) -> Taken {
        if let Some(Standing::Behind(backlog)) = self.slots.get_mut(slot) {
            self.kept_bytes = self.kept_bytes.saturating_sub(backlog.bytes());
            backlog.groups = VecDeque::new();
            backlog.has_gap = true;
        }
        self.behind.insert(slot);
        self.refuse(slot)
    }

    fn refuse(&mut self, slot: Slot) -> Taken {
        self.refused.insert(slot);
        Taken::Refused
    }

    fn stop_following(&mut self, slot: Slot) {
        if let Some(Standing::Follows(_)) = self.slots.get(slot) {
            self.refused.insert(slot);
        }
        self.forget(slot);
    }

    fn fall_behind(&mut self, slot: Slot) {
        self.stop_following(slot);
        self.behind.insert(slot);
        let backlog = Standing::Behind(Box::default());
        self.slots.put(slot, backlog);
    }

    fn forget(&mut self, slot: Slot) {
        if let Some(Standing::Behind(backlog)) = self.slots.take(slot) {
            self.kept_bytes = self.kept_bytes.saturating_sub(backlog.bytes());
        }
    }
}

impl Default for Standings {
    fn default() -> Self {
        Self((0..SLOT_COUNT).map(|_| None).collect())
    }
}

impl Standings {
    fn get(&self, slot: Slot) -> Option<&Standing> {
        self.0.get(slot.index())?.as_ref()
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Standing> {
        self.0.get_mut(slot.index())?.as_mut()
    }

    fn put(&mut self, slot: Slot, standing: Standing) {
        if let Some(place) = self.0.get_mut(slot.index()) {
            *place = Some(standing);
        }
    }

    fn take(&mut self, slot: Slot) -> Option<Standing> {
        self.0.get_mut(slot.index())?.take()
    }
}

impl Backlog {
    fn bytes(&self) -> usize {
        self.groups.iter().fold(0, |sum: usize, group| {
            sum.saturating_add(group.bytes.len())
                .saturating_add(GROUP_OVERHEAD_BYTES)
        })
    }

    /// Whether nothing is missing between a state at this position and what was kept.
    fn continues(&self, at: Position) -> bool {
        // What was kept of an earlier reign is part of the state, or was given up with it.
        if self.epoch < at.epoch {
            return true;
        }
        if self.epoch > at.epoch || self.has_gap {
            return false;
        }
        let first = self.groups.front().map(|first| first.at.n);
        first.is_none_or(|first| first <= at.n.saturating_add(1))
    }

    /// Whether a state at this position has, with what was kept, all up to a commit that came.
    fn reaches(&self, at: Position, came: Position) -> bool {
        let last = self.groups.back().map(|last| last.at);
        came <= at || last.is_some_and(|last| last >= came)
    }
}
