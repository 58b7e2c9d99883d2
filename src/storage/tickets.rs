//! Who waits for which commit, and whose turn it is to commit: the core of group commit.
//!
//! A task that has decided holds a *ticket*, the number of the commit that its change will be in,
//! and [`Tickets::wait`]s. If nobody commits, the turn is its own; else it waits, and at the end of
//! each turn those whose commit is done are released and the one that has waited longest gets the
//! next turn. There is no turn without an owner that will end it: whoever drops it, or drops a wait
//! that was given it, passes it on.
//!
//! While a sync runs, waits for one take no turn: what they hold cannot leave before the next sync,
//! so one commit at the end of this one takes them all.
//!
//! It knows no store and no thread, and its lock is a parameter, so that `shuttle` can run every
//! line of it (see `tests/schedules.rs`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::fence::StorageFailed;

/// A lock around a value; real ones and `shuttle`'s.
pub(super) trait Guarded<T>: Send + Sync {
    /// A lock around `value`.
    fn new(value: T) -> Self;
    /// Runs `f` under the lock.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}

impl<T: Send> Guarded<T> for parking_lot::Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.lock())
    }
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The ticket's commit has been appended.
    Committed,
    /// The ticket's commit has been synced.
    Synced,
}

/// Waits and turns.
pub(super) struct Tickets<G> {
    /// Commits up to this number are appended. Written under the lock only.
    committed: AtomicU64,
    /// Commits up to this number are synced. Written under the lock only.
    synced: AtomicU64,
    places: G,
    /// Asks for a sync; called when a wait for one has nothing else to wait for.
    ask_sync: Box<dyn Fn() + Send + Sync>,
}

/// All waits, and whether a turn is out.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Somebody has the turn or has been given it.
    turn_is_out: bool,
    /// A sync runs: only who waits for no sync is given a turn.
    syncing: bool,
    /// Nothing will be committed any more.
    closed: bool,
    waits: Vec<Option<Place>>,
    /// Empty places in `waits`.
    free: Vec<usize>,
    arrivals: u64,
}

/// One wait.
#[derive(Debug)]
struct Place {
    ticket: u64,
    goal: Goal,
    arrival: u64,
    given_turn: bool,
    waker: Option<Waker>,
}

/// How a wait ended.
pub(super) enum Step<'a, G: Guarded<Places>> {
    /// The goal is reached.
    Kept,
    /// The caller commits.
    Turn(Turn<'a, G>),
}

/// The right and duty to commit. Dropped without [`Turn::end`], it is passed on.
pub(super) struct Turn<'a, G: Guarded<Places>> {
    tickets: &'a Tickets<G>,
}

/// The future of [`Tickets::wait`]. Cancel safe: a turn that it was given is passed on.
pub(super) struct Wait<'a, G: Guarded<Places>> {
    tickets: &'a Tickets<G>,
    ticket: u64,
    goal: Goal,
    place: Option<usize>,
}

impl<G: Guarded<Places>> Tickets<G> {
    /// Nobody waits, and commits up to `kept` are appended and synced.
    pub(super) fn new(kept: u64, ask_sync: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            committed: AtomicU64::new(kept),
            synced: AtomicU64::new(kept),
            places: G::new(Places::default()),
            ask_sync,
        }
    }

    /// Number of the last commit that was appended.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Number of the last commit that was synced.
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether `goal` is reached for `ticket`.
    pub(super) fn is_reached(&self, ticket: u64, goal: Goal) -> bool {
        match goal {
            Goal::Committed => self.committed() >= ticket,
            Goal::Synced => self.synced() >= ticket,
        }
    }

    /// Waits until `goal` is reached for `ticket`; on the caller's turn it lets the other ready
    /// tasks decide first and then calls `commit`, which ends the turn. Cancel safe.
    pub(super) async fn kept<'a>(
        &'a self,
        ticket: u64,
        goal: Goal,
        commit: impl Fn(Turn<'a, G>) -> Result<(), StorageFailed>,
    ) -> Result<(), StorageFailed> {
        loop {
            match self.wait(ticket, goal).await? {
                Step::Kept => return Ok(()),
                Step::Turn(turn) => {
                    tokio::task::yield_now().await;
                    commit(turn)?;
                }
            }
        }
    }

    /// Waits until `goal` is reached for `ticket`, or until it is the caller's turn to commit.
    /// Fails once the tickets are closed.
    pub(super) fn wait(&self, ticket: u64, goal: Goal) -> Wait<'_, G> {
        Wait {
            tickets: self,
            ticket,
            goal,
            place: None,
        }
    }

    /// Says that a sync begins, which [`Tickets::publish_synced`] or [`Tickets::close`] ends.
    pub(super) fn begin_sync(&self) {
        self.places.with(|places| places.syncing = true);
    }

    /// Publishes that commits up to `number` are synced. `wake` is scratch space.
    pub(super) fn publish_synced(&self, number: u64, wake: &mut Vec<Waker>) {
        self.places.with(|places| {
            raise(&self.synced, number);
            places.syncing = false;
            places.wake_reached(wake, |ticket, goal| self.is_reached(ticket, goal));
            if !places.turn_is_out {
                places.give_turn(self.committed(), wake);
            }
        });
        wake_all(wake);
    }

    /// Ends all waits that are not reached yet, and all later ones, in failure.
    pub(super) fn close(&self) {
        let mut wake = Vec::new();
        self.places.with(|places| {
            places.closed = true;
            places.wake_reached(&mut wake, |_, _| true);
        });
        wake_all(&mut wake);
    }

    fn end_turn(&self, number: Option<u64>, wake: &mut Vec<Waker>) {
        let sync_is_wanted = self.places.with(|places| {
            if let Some(number) = number {
                raise(&self.committed, number);
            }
            places.wake_reached(wake, |ticket, goal| self.is_reached(ticket, goal));
            places.give_turn(self.committed(), wake);
            number.is_some() && places.waits_for_sync(self.committed())
        });
        wake_all(wake);
        if sync_is_wanted {
            (self.ask_sync)();
        }
    }
}

fn raise(number: &AtomicU64, to: u64) {
    number.fetch_max(to, Ordering::AcqRel);
}

fn wake_all(wake: &mut Vec<Waker>) {
    for waker in wake.drain(..) {
        waker.wake();
    }
}

impl Places {
    fn wake_reached(&mut self, wake: &mut Vec<Waker>, is_reached: impl Fn(u64, Goal) -> bool) {
        for place in self.waits.iter_mut().flatten() {
            if is_reached(place.ticket, place.goal) {
                wake.extend(place.waker.take());
            }
        }
    }

    /// Gives the turn to the longest wait whose ticket is above `committed` and that no running sync
    /// holds back, or takes it back if there is none, or nothing will be committed any more.
    fn give_turn(&mut self, committed: u64, wake: &mut Vec<Waker>) {
        let (closed, syncing) = (self.closed, self.syncing);
        let waits = self.waits.iter_mut().flatten();
        let next = waits
            .filter(|place| !closed && place.ticket > committed)
            .filter(|place| !syncing || place.goal == Goal::Committed)
            .min_by_key(|place| place.arrival);
        self.turn_is_out = next.is_some();
        if let Some(place) = next {
            place.given_turn = true;
            wake.extend(place.waker.take());
        }
    }

    fn waits_for_sync(&self, committed: u64) -> bool {
        let mut waits = self.waits.iter().flatten();
        waits.any(|place| place.goal == Goal::Synced && place.ticket <= committed)
    }

    fn insert(&mut self, place: Place) -> usize {
        if let Some(at) = self.free.pop() {
            self.waits[at] = Some(place);
            return at;
        }
        self.waits.push(Some(place));
        self.waits.len() - 1
    }

    /// Gives up a place; true if it had been given the turn.
    fn remove(&mut self, at: usize) -> bool {
        let place = self.waits.get_mut(at).and_then(Option::take);
        if place.is_some() {
            self.free.push(at);
        }
        place.is_some_and(|place| place.given_turn)
    }
}

impl<'a, G: Guarded<Places>> Wait<'a, G> {
    /// One look under the lock: how the wait ends, or nothing if it goes on.
    fn look(&mut self, waker: &Waker) -> Option<Result<Step<'a, G>, StorageFailed>> {
        let tickets = self.tickets;
        tickets.places.with(|places| {
            let reached = tickets.is_reached(self.ticket, self.goal);
            let given = self
                .place
                .and_then(|at| places.waits.get(at)?.as_ref())
                .is_some_and(|place| place.given_turn);
            let held_back = places.syncing && self.goal == Goal::Synced;
            let free = !places.turn_is_out && !held_back && tickets.committed() < self.ticket;
            let ends = reached || given || places.closed || free;
            if !ends {
                self.register(places, waker);
                return None;
            }
            if let Some(at) = self.place.take() {
                places.remove(at);
            }
            // A turn comes first: whoever was given it must take it, even only to pass it on.
            if given || (free && !reached && !places.closed) {
                places.turn_is_out = true;
                return Some(Ok(Step::Turn(Turn { tickets })));
            }
            Some(if reached {
                Ok(Step::Kept)
            } else {
                Err(StorageFailed)
            })
        })
    }

    fn register(&mut self, places: &mut Places, waker: &Waker) {
        let waker = Some(waker.clone());
        if let Some(place) = self.place.and_then(|at| places.waits.get_mut(at)?.as_mut()) {
            place.waker = waker;
            return;
        }
        places.arrivals = places.arrivals.wrapping_add(1);
        self.place = Some(places.insert(Place {
            ticket: self.ticket,
            goal: self.goal,
            arrival: places.arrivals,
            given_turn: false,
            waker,
        }));
    }
}

impl<'a, G: Guarded<Places>> Future for Wait<'a, G> {
    type Output = Result<Step<'a, G>, StorageFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() && self.tickets.is_reached(self.ticket, self.goal) {
            return Poll::Ready(Ok(Step::Kept));
        }
        if let Some(end) = self.look(cx.waker()) {
            return Poll::Ready(end);
        }
        // Its place is taken, so a sync asked for from here on releases it.
        if self.goal == Goal::Synced && self.tickets.committed() >= self.ticket {
            (self.tickets.ask_sync)();
        }
        Poll::Pending
    }
}

impl<G: Guarded<Places>> Drop for Wait<'_, G> {
    fn drop(&mut self) {
        let Some(at) = self.place.take() else { return };
        if self.tickets.places.with(|places| places.remove(at)) {
            self.tickets.end_turn(None, &mut Vec::new());
        }
    }
}

impl<G: Guarded<Places>> Turn<'_, G> {
    /// Publishes that commits up to `number` are appended, releases those that waited for them,
    /// and passes the turn on. `wake` is scratch space.
    pub(super) fn end(self, number: u64, wake: &mut Vec<Waker>) {
        self.tickets.end_turn(Some(number), wake);
        // The turn has been passed on already; dropping it would do so again.
        let _passed_on = std::mem::ManuallyDrop::new(self);
    }
}

impl<G: Guarded<Places>> Drop for Turn<'_, G> {
    fn drop(&mut self) {
        self.tickets.end_turn(None, &mut Vec::new());
    }
}

impl<G> fmt::Debug for Tickets<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("committed", &self.committed)
            .field("synced", &self.synced)
            .finish_non_exhaustive()
    }
}
