//! The replica's end of one link, as the control loop and the link's task share it: what follows,
//! what is kept for later, and what is to be said to the owner.
//!
//! The invariant: what an owner commits is applied by its newest link only, one group after the
//! other, under this lock. A link that another one has replaced applies nothing any more (R6).

use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::Notify;

use crate::limiter::commit_record::{Group, all, cut};
use crate::node::engine::Engine;
use crate::node::follow::Refused;
use crate::replication::{Follower, Found, Taken};
use crate::storage::fence::StorageFailed;
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet};

/// Something on its way to the journal.
pub(super) trait Appending: Future<Output = Result<u64, StorageFailed>> + Send {}

impl<F: Future<Output = Result<u64, StorageFailed>> + Send> Appending for F {}

/// See the module.
#[derive(Debug)]
pub(super) struct Visit {
    /// The link's number.
    pub(super) link: u64,
    /// Whose commits it brings.
    pub(super) owner: NodeId,
    pub(super) connection: Connection,
    state: Mutex<State>,
    /// There is something to say.
    pub(super) wake: Notify,
}

#[derive(Debug)]
struct State {
    /// None once the link is replaced or has ended.
    follower: Option<Follower>,
    to_say: ToSay,
}

/// What the link's task is to see to.
#[derive(Debug, Default)]
pub(super) struct ToSay {
    /// Slots that follow from here on, each with how far it was then. It is said once all up to
    /// there is synced.
    pub(super) followed: Vec<(Slot, Position)>,
    /// What was promised.
    pub(super) deaf: Vec<(Slot, Epoch)>,
    /// Slots that have fallen behind.
    pub(super) behind: Option<SlotSet>,
}

/// The link is another one's place now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced;

/// Why a commit was not taken in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It cannot be read.
    Malformed,
    /// See [`Replaced`].
    Replaced,
}

impl Visit {
    /// A link that begins: all of the owner's slots that are here are behind.
    pub(super) fn new(link: u64, owner: NodeId, connection: Connection, here: SlotSet) -> Self {
        let state = State {
            follower: Some(Follower::new(owner, here)),
            to_say: ToSay::default(),
        };
        Self {
            link,
            owner,
            connection,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// The link applies nothing any more when this returns.
    pub(super) fn end(&self) {
        self.state.lock().follower = None;
        self.wake.notify_one();
    }

    /// Takes in what belongs to one commit, or a part of it. The future resolves when what was applied
    /// is appended to the journal; there is none if nothing was.
    pub(super) fn take<'e>(
        &self,
        engine: &'e Engine,
        bytes: &[u8],
    ) -> Result<Option<impl Appending + use<'e>>, NotTaken> {
        let mut groups = all(cut(self.owner, bytes)).map_err(|_garbled| NotTaken::Malformed)?;
        let mut state = self.state.lock();
        let follower = state.follower.as_mut().ok_or(NotTaken::Replaced)?;
        let applies = |group: &Group<'_>| {
            let clock = group.clock.unwrap_or_default();
            follower.take(group.slot, group.at, clock, group.raw()) == Taken::Apply
        };
        groups.retain(applies);
        Ok(apply(engine, follower, &groups))
    }

    /// From here on the slots follow, from where their state is; what was kept of them is applied.
    /// Those with a gap are behind again.
    pub(super) fn follow(&self, engine: &Engine, slots: &[Slot]) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(follower) = state.follower.as_mut() else {
            // The link that takes its place begins with all slots behind.
            return;
        };
        for &slot in slots {
            let Ok(kept) = follower.follow(slot, engine.table.position(slot)) else {
                continue;
            };
            for group in &kept {
                let groups = all(cut(self.owner, &group.bytes));
                let groups = groups.unwrap_or_default();
                // In the queue of the journal, and synced before the owner is told.
                drop(apply(engine, follower, &groups));
            }
            let at = engine.table.position(slot);
            if follower.follows(slot, at.epoch) {
                state.to_say.followed.push((slot, at));
            }
        }
        self.wake.notify_one();
    }

    /// Slots are about to be copied: what comes of them from here on is kept.
    pub(super) fn restart(&self, slots: &SlotSet) {
        let mut state = self.state.lock();
        state.to_say.forget(slots);
        if let Some(follower) = state.follower.as_mut() {
            follower.restart(slots);
        }
    }

    /// Slots were sealed or dropped: they follow no more.
    pub(super) fn close(&self, slots: &SlotSet) {
        let mut state = self.state.lock();
        state.to_say.forget(slots);
        if let Some(follower) = state.follower.as_mut() {
            follower.close(slots);
        }
    }

    /// Has the owner told what was promised above its reigns.
    pub(super) fn deaf(&self, slots: &[(Slot, Epoch)]) {
        let mut state = self.state.lock();
        for (slot, promised) in slots {
            state.to_say.deaf.retain(|(of, _)| of != slot);
            state.to_say.deaf.push((*slot, *promised));
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes what there is to say.
    pub(super) fn to_say(&self) -> Result<ToSay, Replaced> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let follower = state.follower.as_mut().ok_or(Replaced)?;
        let behind = follower.behind();
        state.to_say.forget(&behind);
        let mut to_say = std::mem::take(&mut state.to_say);
        to_say.behind = (!behind.is_empty()).then_some(behind);
        Ok(to_say)
    }

    /// The slots of which something was refused since this was asked last.
    pub(super) fn refused(&self) -> Result<SlotSet, Replaced> {
        let mut state = self.state.lock();
        let follower = state.follower.as_mut().ok_or(Replaced)?;
        Ok(follower.take_refused())
    }

    /// Of these slots those that still follow in the reign that they are at.
    pub(super) fn still_follow(&self, slots: &mut Vec<(Slot, Position)>) {
        let state = self.state.lock();
        let follower = state.follower.as_ref();
        slots.retain(|(slot, at)| follower.is_some_and(|it| it.follows(*slot, at.epoch)));
    }
}

impl ToSay {
    /// Nothing is said of these slots.
    fn forget(&mut self, slots: &SlotSet) {
        self.followed.retain(|(slot, _)| !slots.contains(*slot));
    }
}

/// Gives groups to the table, and tells the follower what it found.
fn apply<'e>(
    engine: &'e Engine,
    follower: &mut Follower,
    groups: &[Group<'_>],
) -> Option<impl Appending + use<'e>> {
    let owner = groups.first()?.at.epoch.node;
    let (refused, appending) = engine.take_in(owner, groups);
    for (place, why) in refused {
        if let Some(group) = groups.get(place) {
            let clock = group.clock.unwrap_or_default();
            follower.applied(group.slot, (group.at, clock, group.raw()), found(why));
        }
    }
    Some(appending)
}

const fn found(why: Refused) -> Found {
    match why {
        // Where there is no room now, there may be when it is told again.
        Refused::Gap | Refused::Full => Found::Gap,
        Refused::Closed | Refused::Unusable => Found::Closed,
    }
}
