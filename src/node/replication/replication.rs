//! The node's tracker behind its lock, and what of it is looked at without the lock.
//!
//! While no slot has more than one replica, and nobody learns one, none of this costs anything: a
//! commit is one store and one load. The lock is held while a commit's frames are put into queues, so
//! that they leave in the order of the commits, and never while anybody is woken.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::bits::SlotBits;
use super::send::{Outgoing, Sender};
use crate::limiter::policy::Durability;
use crate::replication::{Goal, Marks, PeerView, Queue, Refusals, Report, Tracker, Waiters};
use crate::server::{Kept, Wait};
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Position, SLOT_COUNT, Slot, SlotSet};

/// See the module.
pub(crate) struct Replication {
    side: Mutex<Side>,
    waiters: Waiters<Mutex<Queue>>,
    /// Number of the last commit that was taken.
    number: AtomicU64,
    /// Whether the tracker is told of commits: from the first slot on that another node gets.
    active: AtomicBool,
    /// Slots that have more than one replica, as last served.
    many: SlotBits,
    /// Slots that have been without a majority for too long.
    without: SlotBits,
    some_without: AtomicBool,
    /// Of each slot the last ticket that may be lost; 0: none is.
    lost_through: Box<[AtomicU64]>,
    some_lost: AtomicBool,
    /// How many wait for a sync, here or elsewhere.
    waiting_for_sync: AtomicUsize,
    /// Told when something has changed under the lock.
    changed: Notify,
    outgoing: OnceLock<Arc<dyn Outgoing>>,
}

/// What is behind the lock.
#[derive(Debug)]
struct Side {
    tracker: Tracker,
    sender: Sender,
}

/// Counts somebody who waits for a sync, until it is dropped.
#[derive(Debug)]
pub(crate) struct SyncWanted<'a>(&'a AtomicUsize);

impl Drop for SyncWanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Replication {
    /// Nothing is served by `node`, and nobody is connected.
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            side: Mutex::new(Side {
                tracker: Tracker::new(node),
                sender: Sender::default(),
            }),
            waiters: Waiters::new(),
            number: AtomicU64::new(0),
            active: AtomicBool::new(false),
            many: SlotBits::default(),
            without: SlotBits::default(),
            some_without: AtomicBool::new(false),
            lost_through: (0..SLOT_COUNT).map(|_| AtomicU64::new(0)).collect(),
            some_lost: AtomicBool::new(false),
            waiting_for_sync: AtomicUsize::new(0),
            changed: Notify::new(),
            outgoing: OnceLock::new(),
        }
    }

    /// Commits go to these links from now on; only the first call counts.
    pub(crate) fn attach(&self, outgoing: Arc<dyn Outgoing>) {
        // There is one set of links in the life of a node.
        drop(self.outgoing.set(outgoing));
    }

    /// A commit was taken and is about to be written: `record` is the packed commit record. Called in
    /// the order of the numbers.
    pub(crate) fn commit(&self, number: u64, record: &[u8], empty: bool) {
        // The order of these two, and of those in `activate`, lets one of both sides see the other.
        self.number.store(number, Ordering::SeqCst);
        if !self.active.load(Ordering::SeqCst) {
            return;
        }
        let somebody_waits = self.waiting_for_sync.load(Ordering::Acquire) > 0;
        self.with(|side, outgoing| {
            if empty {
                side.tracker.taken(number);
            } else {
                let commit = (number, record);
                side.sender.commit(commit, &mut side.tracker, outgoing);
            }
            if somebody_waits {
                side.sender.ask_sync(true, &mut side.tracker, outgoing);
            }
        });
    }

    /// As [`Tracker::serve`]. Call it before the table serves the slot.
    pub(crate) fn serve(&self, slot: Slot, chosen: &Configuration, in_sync: &[NodeId]) {
        let has_many = chosen.replicas.as_slice().len() > 1;
        self.with(|side, _| {
            if has_many {
                self.activate(side);
            }
            side.tracker.serve(slot, chosen, in_sync);
            self.many.set(slot, has_many);
        });
    }

    /// As [`Tracker::stop`]. Call it after the table has frozen the slots.
    pub(crate) fn stop(&self, slots: &SlotSet) {
        self.with(|side, _| side.tracker.stop(slots));
    }

    /// As [`Tracker::connected`].
    pub(crate) fn connected(&self, peer: NodeId, link: u64) {
        self.with(|side, _| side.tracker.connected(peer, link));
    }

    /// As [`Tracker::lost`].
    pub(crate) fn lost(&self, peer: NodeId, link: u64) {
        self.with(|side, _| side.tracker.lost(peer, link));
    }

    /// As [`Tracker::feed`]. A commit that is taken after this goes to the peer; the position is to be
    /// read after one was.
    pub(crate) fn feed(&self, peer: NodeId, link: u64, slots: &SlotSet) {
        self.with(|side, _| {
            self.activate(side);
            side.tracker.feed(peer, link, slots);
        });
    }

    /// As [`Tracker::applied`].
    pub(crate) fn applied(&self, peer: NodeId, link: u64, through: u64, refused: &SlotSet) -> bool {
        self.with(|side, _| side.tracker.applied(peer, link, through, refused))
    }

    /// As [`Tracker::synced`].
    pub(crate) fn synced(&self, peer: NodeId, link: u64, through: u64) -> bool {
        self.with(|side, _| side.tracker.synced(peer, link, through))
    }

    /// As [`Tracker::in_sync`].
    pub(crate) fn in_sync(&self, peer: NodeId, link: u64, slots: &[(Slot, Position)]) {
        self.with(|side, _| side.tracker.in_sync(peer, link, slots));
    }

    /// As [`Tracker::out_of_sync`].
    pub(crate) fn out_of_sync(&self, peer: NodeId, link: u64, slots: &SlotSet) {
        self.with(|side, _| side.tracker.out_of_sync(peer, link, slots));
    }

    /// As [`Tracker::deaf`].
    pub(crate) fn deaf(&self, peer: NodeId, link: u64, slots: &[(Slot, Epoch)]) {
        self.with(|side, _| side.tracker.deaf(peer, link, slots));
    }

    /// Time has passed; told at least every 100 ms.
    pub(crate) fn tick(&self, now: MonoTime) {
        if !self.is_active() {
            return;
        }
        let somebody_waits = self.waiting_for_sync.load(Ordering::Acquire) > 0;
        self.with(|side, outgoing| {
            side.tracker.tick(now);
            side.sender
                .ask_sync(somebody_waits, &mut side.tracker, outgoing);
        });
    }

    /// As [`Tracker::given`].
    pub(crate) fn given(&self, peer: NodeId, link: u64) -> Vec<(Slot, Epoch)> {
        self.side.lock().tracker.given(peer, link)
    }

    /// What the ownership is to be told.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.side.lock().tracker.reports()
    }

    /// The peers that commits go to, for the status.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        self.side.lock().tracker.peers().collect()
    }

    /// As [`Tracker::followers`].
    pub(crate) fn followers(&self) -> Vec<(NodeId, SlotSet)> {
        self.side.lock().tracker.followers()
    }

    /// What was refused of what peers said.
    pub(crate) fn refusals(&self) -> Refusals {
        self.side.lock().tracker.refusals()
    }

    /// Up to which commit all slots that have a majority are on one.
    pub(crate) fn replicated(&self) -> Marks {
        self.waiters.marks()
    }

    /// Whether commits are replicated at all.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether the slot had more than one replica when it was served last.
    pub(crate) fn is_replicated(&self, slot: Slot) -> bool {
        self.is_active() && self.many.contains(slot)
    }

    /// Whether some slots have been without a majority for too long.
    pub(crate) fn some_without_majority(&self) -> bool {
        self.some_without.load(Ordering::Acquire)
    }

    /// How many slots have been without a majority for too long.
    pub(crate) fn without_majority(&self) -> u64 {
        self.without.len()
    }

    /// As [`Tracker::is_cut_off`].
    pub(crate) fn is_cut_off(&self) -> bool {
        self.some_without_majority() && self.side.lock().tracker.is_cut_off()
    }

    /// Whether the slot has a majority, or has been without one for a moment only. Without it nothing
    /// may be granted.
    pub(crate) fn has_majority(&self, slot: Slot) -> bool {
        !self.without.contains(slot)
    }

    /// Counts the caller among those who wait for a sync.
    pub(crate) fn wants_sync(&self) -> SyncWanted<'_> {
        self.waiting_for_sync.fetch_add(1, Ordering::AcqRel);
        SyncWanted(&self.waiting_for_sync)
    }

    /// Resolves when all commits up to the wait's are on a majority, or lost; [`Kept::Some`] if some
    /// may be lost, and [`Replication::is_lost`] says which. Cancel safe.
    pub(crate) async fn kept(&self, wait: Wait) -> Kept {
        if !self.is_active() {
            return Kept::All;
        }
        let goal = goal_of(wait.durability);
        if goal == Goal::Synced && self.replicated().synced < wait.ticket {
            self.with(|side, outgoing| {
                side.sender.ask_sync(true, &mut side.tracker, outgoing);
            });
        }
        self.waiters.reached(wait.ticket, goal).await;
        if self.some_lost.load(Ordering::Acquire) {
            Kept::Some
        } else {
            Kept::All
        }
    }

    /// Resolves when all commits of these slots that were taken so far are on a majority, synced if
    /// somebody waits for that, or lost. What is outstanding of other slots does not hold it up. Cancel
    /// safe.
    pub(crate) async fn settled(&self, slots: &SlotSet) {
        loop {
            // Made before the look: a change after it is not missed.
            let changed = self.changed.notified();
            let is_sync_awaited = self.waiting_for_sync.load(Ordering::Acquire) > 0;
            let goal = if is_sync_awaited {
                Goal::Synced
            } else {
                Goal::Appended
            };
            if !self.side.lock().tracker.is_outstanding(slots, goal) {
                return;
            }
            changed.await;
        }
    }

    /// Whether what the wait is for is lost: then nobody may be told that it grants.
    pub(crate) fn is_lost(&self, wait: Wait) -> bool {
        let goal = goal_of(wait.durability);
        let through = self.lost_through.get(wait.slot.index());
        if through.is_none_or(|through| through.load(Ordering::Acquire) < wait.ticket) {
            return false;
        }
        let side = self.side.lock();
        side.tracker.is_lost(wait.slot, wait.ticket, goal)
    }

    /// From here on the tracker is told of commits. No slot has another replica before, so that those
    /// that it was not told of hold nothing back.
    fn activate(&self, side: &mut Side) {
        if !self.active.swap(true, Ordering::SeqCst) {
            side.tracker.taken(self.number.load(Ordering::SeqCst));
        }
    }

    /// Changes something under the lock, then shows it, and wakes who waited for it.
    fn with<R>(&self, change: impl FnOnce(&mut Side, Option<&dyn Outgoing>) -> R) -> R {
        let mut side = self.side.lock();
        let outgoing = self.outgoing.get().map(|outgoing| &**outgoing);
        let changed = change(&mut side, outgoing);
        // What is lost shows before the watermark passes it.
        self.show(&mut side.tracker);
        let marks = side.tracker.replicated();
        drop(side);
        self.waiters.publish(marks, &mut Vec::new());
        self.changed.notify_waiters();
        changed
    }

    fn show(&self, tracker: &mut Tracker) {
        let Some(touched) = tracker.take_touched() else {
            return;
        };
        for slot in touched.iter() {
            let through = tracker.lost_through(slot);
            if through > 0 {
                self.some_lost.store(true, Ordering::Release);
            }
            if let Some(place) = self.lost_through.get(slot.index()) {
                place.store(through, Ordering::Release);
            }
            self.without.set(slot, !tracker.has_majority(slot));
        }
        let some_without = !tracker.without_majority().is_empty();
        self.some_without.store(some_without, Ordering::Release);
    }
}

/// What a majority must have done. Where a slot has several replicas, `none` is as `process`.
const fn goal_of(durability: Durability) -> Goal {
    match durability {
        Durability::None | Durability::Process => Goal::Appended,
        Durability::Fsync => Goal::Synced,
    }
}

impl fmt::Debug for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replication")
            .field("waiters", &self.waiters)
            .finish_non_exhaustive()
    }
}
