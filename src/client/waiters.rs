//! Callers that wait for an answer: one reused place each, with a deadline and a waker.
//!
//! Pure. A place is named by its index and a generation that changes whenever the place is given
//! up, so that an answer that comes late finds nobody instead of somebody else. Whoever locks
//! around this calls the wakers that it hands out after unlocking.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::error::ConnectError;
use crate::protocol::client::{ResponseBody, WireDecision};
use crate::protocol::error::WireError;

/// Names one waiting caller for as long as it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaiterId {
    index: u32,
    generation: u32,
}

/// How a wait ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The check of a merged frame was answered.
    Decided(Result<WireDecision, WireError>),
    /// A request of the caller's own was answered.
    Answered(ResponseBody),
    /// The deadline passed.
    TimedOut {
        /// Whether the request had been sent.
        sent: bool,
    },
    /// The connection was lost after the request was sent.
    Lost {
        /// When something last came from the node on it.
        heard: Duration,
    },
    /// The connection was lost before the request was sent.
    Unsent,
    /// No node could be reached; the request was not sent.
    Unreachable(Arc<ConnectError>),
    /// The answer does not fit what was asked.
    Misfit,
    /// The tasks of the client have ended.
    Closed,
}

#[derive(Debug)]
enum Stage {
    /// In the list of free places.
    Free,
    Queued,
    Sent,
    Ended(Outcome),
}

#[derive(Debug)]
struct Place {
    generation: u32,
    deadline: Duration,
    stage: Stage,
    waker: Option<Waker>,
    /// Nobody waits: the place is free when the wait ends, however it ends.
    detached: bool,
}

/// The waiting callers of one lane.
#[derive(Debug)]
pub(super) struct Waiters {
    places: Vec<Place>,
    free: Vec<u32>,
    waiting_max: usize,
}

impl Waiters {
    /// Room for at most `waiting_max` callers at once; memory is taken as they come.
    pub(super) const fn new(waiting_max: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            waiting_max,
        }
    }

    /// A place for a caller whose request is queued, or `None` if as many wait as may.
    pub(super) fn enter(&mut self, deadline: Duration, waker: Option<Waker>) -> Option<WaiterId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.places.len() < self.waiting_max => self.add_place()?,
            None => return None,
        };
        let place = self.places.get_mut(to_usize(index))?;
        place.deadline = deadline;
        place.stage = Stage::Queued;
        place.waker = waker;
        place.detached = false;
        Some(WaiterId {
            index,
            generation: place.generation,
        })
    }

    fn add_place(&mut self) -> Option<u32> {
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place {
            generation: 0,
            deadline: Duration::ZERO,
            stage: Stage::Free,
            waker: None,
            detached: false,
        });
        Some(index)
    }

    /// Notes that the request is about to be sent; false if its caller waits no more, so that it
    /// need not be.
    pub(super) fn mark_sent(&mut self, id: WaiterId) -> bool {
        let Some(place) = self.place(id) else {
            return false;
        };
        match place.stage {
            Stage::Queued => {
                place.stage = Stage::Sent;
                true
            }
            Stage::Free | Stage::Sent | Stage::Ended(_) => false,
        }
    }

    /// Ends the wait; the waker is to be called. Does nothing if nobody waits under this name.
    pub(super) fn end(&mut self, id: WaiterId, outcome: Outcome) -> Option<Waker> {
        let place = self.place(id)?;
        match place.stage {
            Stage::Queued | Stage::Sent => {
                let waker = place.end(outcome);
                self.free_if_detached(id.index);
                waker
            }
            Stage::Free | Stage::Ended(_) => None,
        }
    }

    /// Nobody waits for the outcome, but the request is to be sent all the same.
    pub(super) fn detach(&mut self, id: WaiterId) {
        let Some(place) = self.place(id) else {
            return;
        };
        place.detached = true;
        place.waker = None;
        self.free_if_detached(id.index);
    }

    /// Gives the place up if its wait has ended and nobody will ask.
    fn free_if_detached(&mut self, index: u32) {
        let Some(place) = self.places.get_mut(to_usize(index)) else {
            return;
        };
        if place.detached && matches!(place.stage, Stage::Ended(_)) {
            place.free();
            self.free.push(index);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        let open = |place: &Place| matches!(place.stage, Stage::Queued | Stage::Sent);
        !self.places.iter().any(open)
    }

    /// The outcome, which gives the place up; until there is one, `waker` will be called.
    pub(super) fn poll(&mut self, id: WaiterId, waker: &Waker) -> Poll<Outcome> {
        let Some(place) = self.place(id) else {
            // Asked again after the outcome was taken; nothing is known any more.
            return Poll::Ready(Outcome::Closed);
        };
        match &place.stage {
            Stage::Queued | Stage::Sent => {
                match &mut place.waker {
                    Some(kept) => kept.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                Poll::Pending
            }
            Stage::Free | Stage::Ended(_) => {
                let stage = std::mem::replace(&mut place.stage, Stage::Free);
                self.give_up(id);
                match stage {
                    Stage::Ended(outcome) => Poll::Ready(outcome),
                    Stage::Free | Stage::Queued | Stage::Sent => Poll::Ready(Outcome::Closed),
                }
            }
        }
    }

    /// Gives the place up without an outcome: the caller is gone.
    pub(super) fn leave(&mut self, id: WaiterId) {
        if self.place(id).is_some() {
            self.give_up(id);
        }
    }

    /// Ends every wait whose deadline has passed; says when the next one passes.
    pub(super) fn expire(&mut self, now: Duration, wakers: &mut Vec<Waker>) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        for index in 0..self.places.len() {
            let Some(place) = self.places.get_mut(index) else {
                break;
            };
            let sent = match place.stage {
                Stage::Queued => false,
                Stage::Sent => true,
                Stage::Free | Stage::Ended(_) => continue,
            };
            if place.deadline <= now {
                wakers.extend(place.end(Outcome::TimedOut { sent }));
                self.free_if_detached(to_u32(index));
            } else {
                next = Some(next.map_or(place.deadline, |next| next.min(place.deadline)));
            }
        }
        next
    }

    /// Ends every wait whose request was not sent yet.
    pub(super) fn end_queued(&mut self, outcome: &Outcome, wakers: &mut Vec<Waker>) {
        self.end_where(|stage| matches!(stage, Stage::Queued), outcome, wakers);
    }

    /// Ends every wait whose request was sent.
    pub(super) fn end_sent(&mut self, outcome: &Outcome, wakers: &mut Vec<Waker>) {
        self.end_where(|stage| matches!(stage, Stage::Sent), outcome, wakers);
    }

    fn end_where(
        &mut self,
        ends: impl Fn(&Stage) -> bool,
        outcome: &Outcome,
        wakers: &mut Vec<Waker>,
    ) {
        for index in 0..self.places.len() {
            if let Some(place) = self.places.get_mut(index)
                && ends(&place.stage)
            {
                wakers.extend(place.end(outcome.clone()));
                self.free_if_detached(to_u32(index));
            }
        }
    }

    fn place(&mut self, id: WaiterId) -> Option<&mut Place> {
        let place = self.places.get_mut(to_usize(id.index))?;
        (place.generation == id.generation).then_some(place)
    }

    fn give_up(&mut self, id: WaiterId) {
        if let Some(place) = self.place(id) {
            place.free();
            self.free.push(id.index);
        }
    }
}

impl Place {
    /// The wait has ended so; whom to wake.
    fn end(&mut self, outcome: Outcome) -> Option<Waker> {
        self.stage = Stage::Ended(outcome);
        self.waker.take()
    }

    fn free(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.stage = Stage::Free;
        self.waker = None;
        self.detached = false;
    }
}

const fn to_usize(index: u32) -> usize {
    index as usize
}

/// The reverse; there are no more places than that.
fn to_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
