//! What a stripe keeps of each of its slots: whether it is served, its clock, how far its state is,
//! and whether a copy of it runs.

use std::collections::BTreeSet;

use crate::limiter::installed::{Installed, STANDS};
use crate::types::{Epoch, Position, Slot, SlotTime, StateId};

use super::striped::STRIPES;
use crate::types::SLOT_COUNT;

/// Slots of a stripe.
pub(super) const SLOTS: usize = SLOT_COUNT as usize / STRIPES;

/// Most states that are remembered as removed while their slot is copied; beyond it, all that were
/// copied and are not in memory are looked at again.
const REMOVED_MAX: usize = 1 << 16;

/// The slots of a stripe.
#[derive(Debug)]
pub(super) struct Cells {
    /// All that a check reads: four slots to a cache line.
    clocks: [Clock; SLOTS],
    cold: Box<[Cold; SLOTS]>,
}

/// A slot's clock, as a part of the node's, and its gate.
#[derive(Debug, Clone, Copy)]
struct Clock {
    offset_ms: i64,
    /// It shows no earlier time than this; the highest bit says that the slot is not served.
    floor_ms: u64,
}

const CLOSED: u64 = 1 << 63;

/// What only commits, moves and upkeep read.
#[derive(Debug, Default)]
struct Cold {
    held: Option<Held>,
    copy: Option<Copying>,
}

/// A slot's state is here.
#[derive(Debug, Clone, Copy)]
struct Held {
    at: Position,
    replay_after: Position,
    stage: Stage,
    written: Written,
}

/// What may be done with a state that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is served, or may be: it was installed in this life.
    Installed,
    /// It takes in what another node commits in its reign. It is not served before it is installed
    /// anew.
    Followed,
    /// Neither before it is followed or installed anew.
    Frozen,
}

/// How far the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It has all but the last commit, which has this number, if that was not appended.
    Own { number: u64 },
    /// Of a reign of another node, up to this one for certain.
    Followed { n: u64 },
}

/// A copy of a slot that runs.
#[derive(Debug)]
struct Copying {
    number: u64,
    removed: Removed,
}

/// States that were removed from memory since a copy began, changed and not yet copied.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) ids: BTreeSet<StateId>,
    /// There were more of them than are remembered.
    pub(super) overflowed: bool,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            clocks: [Clock::closed(STANDS, SlotTime::ZERO); SLOTS],
            cold: Box::default(),
        }
    }
}

impl Clock {
    fn closed(offset_ms: i64, floor: SlotTime) -> Self {
        Self {
            offset_ms,
            floor_ms: floor.as_ms().min(CLOSED.saturating_sub(1)) | CLOSED,
        }
    }

    #[inline]
    const fn is_open(self) -> bool {
        self.floor_ms & CLOSED == 0
    }

    #[inline]
    fn show(self, node_now: SlotTime) -> SlotTime {
        node_now.shifted(self.offset_ms).max(self.floor())
    }

    #[inline]
    const fn floor(self) -> SlotTime {
        SlotTime::from_ms(self.floor_ms & !CLOSED)
    }
}

impl Cells {
    /// Whether the slot of a state is served, and what its clock shows at `node_now`.
    #[inline]
    pub(super) fn served_at(&self, id: StateId, node_now: SlotTime) -> Option<SlotTime> {
        let clock = self.clock(place_of_id(id));
        clock.is_open().then(|| clock.show(node_now))
    }

    /// What the clock of a state's slot shows at `node_now`.
    #[inline]
    pub(super) fn time_of(&self, id: StateId, node_now: SlotTime) -> SlotTime {
        self.clock(place_of_id(id)).show(node_now)
    }

    /// What a slot's clock shows at `node_now`.
    pub(super) fn time(&self, slot: Slot, node_now: SlotTime) -> SlotTime {
        self.clock(place(slot)).show(node_now)
    }

    pub(super) fn is_served(&self, slot: Slot) -> bool {
        self.clock(place(slot)).is_open()
    }

    /// Whether the slot's state is here.
    pub(super) fn holds(&self, slot: Slot) -> bool {
        self.cold(slot).held.is_some()
    }

    /// How far the slot's state is; of nothing, at no epoch.
    pub(super) fn position(&self, slot: Slot) -> Position {
        self.cold(slot)
            .held
            .map_or_else(Position::default, |held| held.at)
    }

    /// Behind which position commits are part of the state; `None` if it is not here.
    pub(super) fn replay_after(&self, slot: Slot) -> Option<Position> {
        self.cold(slot).held.map(|held| held.replay_after)
    }

    /// The slot's next commit, which is part of the node's commit `number`.
    pub(super) fn next_commit(&mut self, slot: Slot, number: u64) -> Position {
        let Some(held) = &mut self.cold_mut(slot).held else {
            return Position::default();
        };
        held.at.n = held.at.n.saturating_add(1);
        held.written = Written::Own { number };
        held.at
    }

    /// A commit of the slot that was read from the journal is part of its state.
    pub(super) fn replayed(&mut self, slot: Slot, at: Position, clock: Option<SlotTime>) {
        let Some(held) = &mut self.cold_mut(slot).held else {
            return;
        };
        // A clock of a lower reign says nothing about that of a higher one.
        if at < held.at {
            return;
        }
        held.at = at;
        held.written = Written::Followed { n: at.n };
        self.raise(slot, clock.unwrap_or_default());
    }

    /// How far the slot's state is for certain in the journal or in rows, when the node's commits up
    /// to `committed` are appended; `None` if it is not here.
    pub(super) fn written(&self, slot: Slot, committed: u64) -> Option<Position> {
        let held = self.cold(slot).held?;
        let n = match held.written {
            Written::Own { number } if number <= committed => held.at.n,
            // Commits are appended one after the other: the one before it was.
            Written::Own { .. } => held.at.n.saturating_sub(1),
            Written::Followed { n } => n,
        };
        let epoch = held.at.epoch;
        Some(Position { epoch, n })
    }

    /// The slot's state is what was installed; its gate is closed and any copy is void.
    pub(super) fn install(&mut self, slot: Slot, installed: &Installed) {
        *self.clock_mut(slot) = Clock::closed(installed.offset_ms, installed.clock);
        *self.cold_mut(slot) = Cold {
            held: Some(Held {
                at: installed.at,
                replay_after: installed.replay_after,
                stage: Stage::Installed,
                written: Written::Followed { n: installed.at.n },
            }),
            copy: None,
        };
    }

    /// The slot's state, as it is here, is what was installed. Of the same reign it may have more, of
    /// which the store is told later.
    pub(super) fn install_own(&mut self, slot: Slot, installed: &Installed) {
        let before = self.position(slot);
        self.install(slot, installed);
        if let Some(held) = &mut self.cold_mut(slot).held
            && held.at.epoch == before.epoch
        {
            held.at = held.at.max(before);
        }
    }

    /// The slot's state was installed in an earlier life: it is not served before it is installed
    /// anew, but its clock runs if it did.
    pub(super) fn hold(&mut self, slot: Slot, installed: &Installed) {
        self.install(slot, installed);
        if let Some(held) = &mut self.cold_mut(slot).held {
            held.stage = Stage::Frozen;
        }
    }

    /// The slot's state is not here any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        *self.clock_mut(slot) = Clock::closed(STANDS, SlotTime::ZERO);
        *self.cold_mut(slot) = Cold::default();
    }

    /// Opens the gate of a slot that was installed at `epoch` and not frozen since; returns its
    /// clock's offset.
    pub(super) fn serve(&mut self, slot: Slot, epoch: Epoch) -> Option<i64> {
        let held = self.cold(slot).held?;
        if held.at.epoch != epoch || held.stage != Stage::Installed {
            return None;
        }
        let clock = self.clock_mut(slot);
        clock.floor_ms &= !CLOSED;
        Some(clock.offset_ms)
    }

    /// Opens the gate of a slot that is held, at another epoch; returns its clock's offset.
    pub(super) fn serve_own(&mut self, slot: Slot, epoch: Epoch) -> Option<i64> {
        let held = self.cold_mut(slot).held.as_mut()?;
        held.at = Position { epoch, n: 0 };
        held.stage = Stage::Installed;
        held.written = Written::Followed { n: 0 };
        self.serve(slot, epoch)
    }

    /// Closes the gate and stops the clock at what it shows at `node_now`.
    pub(super) fn freeze(&mut self, slot: Slot, node_now: SlotTime) {
        let floor = self.time(slot, node_now);
        *self.clock_mut(slot) = Clock::closed(STANDS, floor);
        if let Some(held) = &mut self.cold_mut(slot).held {
            held.stage = Stage::Frozen;
        }
    }

    /// Lets a slot that is held at `epoch` and not served take in commits of others; what its clock
    /// stands at, or `None` if that may not be.
    pub(super) fn follow(&mut self, slot: Slot, epoch: Epoch) -> Option<SlotTime> {
        let clock = self.clock(place(slot));
        let held = self.cold_mut(slot).held.as_mut()?;
        if held.at.epoch != epoch || clock.is_open() {
            return None;
        }
        held.stage = Stage::Followed;
        // Whatever it ran by: from here on it shows what the owner tells.
        let floor = clock.floor();
        *self.clock_mut(slot) = Clock::closed(STANDS, floor);
        Some(floor)
    }

    /// Whether the slot takes in what another node commits.
    pub(super) fn is_followed(&self, slot: Slot) -> bool {
        let held = self.cold(slot).held;
        held.is_some_and(|held| held.stage == Stage::Followed)
    }

    /// A followed slot's next commit was taken in; what its clock stands at.
    pub(super) fn applied(&mut self, slot: Slot, at: Position, clock: SlotTime) -> SlotTime {
        if let Some(held) = &mut self.cold_mut(slot).held {
            held.at = held.at.max(at);
        }
        self.raise(slot, clock)
    }

    /// The commits of the slot's reign up to `at` are in the journal.
    pub(super) fn journaled(&mut self, slot: Slot, at: Position) {
        if let Some(held) = &mut self.cold_mut(slot).held
            && held.at.epoch == at.epoch
            && let Written::Followed { n } = &mut held.written
        {
            *n = at.n.min(held.at.n).max(*n);
        }
    }

    /// The slot's clock shows no earlier time than `clock` any more; what it shows at least.
    pub(super) fn raise(&mut self, slot: Slot, clock: SlotTime) -> SlotTime {
        let place = self.clock_mut(slot);
        let floor = place.floor().max(clock);
        place.floor_ms = floor.as_ms().min(CLOSED.saturating_sub(1)) | place.floor_ms & CLOSED;
        floor
    }

    /// Begins the copy `number` of the slot; any other one of it is void.
    pub(super) fn begin_copy(&mut self, slot: Slot, number: u64) {
        self.cold_mut(slot).copy = Some(Copying {
            number,
            removed: Removed::default(),
        });
    }

    /// Whether the copy `number` of the slot is the one that runs.
    pub(super) fn is_copied(&self, slot: Slot, number: u64) -> bool {
        let copy = self.cold(slot).copy.as_ref();
        copy.is_some_and(|copy| copy.number == number)
    }

    /// Ends the copy `number` of the slot, if it runs.
    pub(super) fn end_copy(&mut self, slot: Slot, number: u64) {
        if self.is_copied(slot, number) {
            self.cold_mut(slot).copy = None;
        }
    }

    /// Takes what was removed since the slot's copy began, or since this was called last.
    pub(super) fn take_removed(&mut self, slot: Slot) -> Removed {
        let copy = self.cold_mut(slot).copy.as_mut();
        copy.map(|copy| std::mem::take(&mut copy.removed))
            .unwrap_or_default()
    }

    /// A state was removed from memory that has changed since it was copied, or never was.
    pub(super) fn note_removed(&mut self, id: StateId) {
        let Some(copy) = &mut self.cold_mut(id.slot()).copy else {
            return;
        };
        if copy.removed.ids.len() < REMOVED_MAX {
            copy.removed.ids.insert(id);
        } else {
            copy.removed.overflowed = true;
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a place is below SLOTS")]
    #[inline]
    const fn clock(&self, n: usize) -> Clock {
        self.clocks[n % SLOTS]
    }

    #[expect(clippy::indexing_slicing, reason = "a place is below SLOTS")]
    const fn clock_mut(&mut self, slot: Slot) -> &mut Clock {
        &mut self.clocks[place(slot)]
    }

    #[expect(clippy::indexing_slicing, reason = "a place is below SLOTS")]
    fn cold(&self, slot: Slot) -> &Cold {
        &self.cold[place(slot)]
    }

    #[expect(clippy::indexing_slicing, reason = "a place is below SLOTS")]
    fn cold_mut(&mut self, slot: Slot) -> &mut Cold {
        &mut self.cold[place(slot)]
    }
}

/// The place of a slot among those of its stripe.
const fn place(slot: Slot) -> usize {
    slot.index() % SLOTS
}

/// The same of a state's slot.
#[inline]
const fn place_of_id(id: StateId) -> usize {
    (id.0 >> 116) as usize % SLOTS
}
