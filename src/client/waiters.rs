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
    Lost,
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
                place.stage = Stage::Ended(outcome);
                place.waker.take()
            }
            Stage::Free | Stage::Ended(_) => None,
        }
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
        for place in &mut self.places {
            let sent = match place.stage {
                Stage::Queued => false,
                Stage::Sent => true,
                Stage::Free | Stage::Ended(_) => continue,
            };
            if place.deadline <= now {
                place.stage = Stage::Ended(Outcome::TimedOut { sent });
                wakers.extend(place.waker.take());
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
        for place in self.places.iter_mut().filter(|place| ends(&place.stage)) {
            place.stage = Stage::Ended(outcome.clone());
            wakers.extend(place.waker.take());
        }
    }

    fn place(&mut self, id: WaiterId) -> Option<&mut Place> {
        let place = self.places.get_mut(to_usize(id.index))?;
        (place.generation == id.generation).then_some(place)
    }

    fn give_up(&mut self, id: WaiterId) {
        if let Some(place) = self.place(id) {
            place.generation = place.generation.wrapping_add(1);
            place.stage = Stage::Free;
            place.waker = None;
            self.free.push(id.index);
        }
    }
}

const fn to_usize(index: u32) -> usize {
    index as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);
    const LATER: Duration = Duration::from_millis(20);

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outcome(waiters: &mut Waiters, id: WaiterId) -> Option<Outcome> {
        match waiters.poll(id, Waker::noop()) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_answer_wakes_its_caller_once_and_frees_the_place() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut waiters = Waiters::new(1);
        let id = waiters.enter(SOON, Some(waker)).unwrap();
        assert!(waiters.mark_sent(id));
        waiters.end(id, Outcome::Misfit).unwrap().wake();
        assert!(waiters.end(id, Outcome::Lost).is_none(), "ended already");
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(matches!(outcome(&mut waiters, id), Some(Outcome::Misfit)));
        assert!(waiters.enter(SOON, None).is_some(), "the place is free");
    }

    #[test]
    fn a_full_house_lets_nobody_in_until_somebody_leaves() {
        let mut waiters = Waiters::new(2);
        let first = waiters.enter(SOON, None).unwrap();
        waiters.enter(SOON, None).unwrap();
        assert!(waiters.enter(SOON, None).is_none());
        waiters.leave(first);
        waiters.leave(first);
        assert!(waiters.enter(SOON, None).is_some());
        assert!(waiters.enter(SOON, None).is_none());
    }

    #[test]
    fn a_late_answer_does_not_reach_who_took_the_place_since() {
        let mut waiters = Waiters::new(1);
        let gone = waiters.enter(SOON, None).unwrap();
        waiters.mark_sent(gone);
        waiters.leave(gone);
        let now_here = waiters.enter(SOON, None).unwrap();
        assert!(waiters.end(gone, Outcome::Misfit).is_none());
        assert!(!waiters.mark_sent(gone));
        assert!(outcome(&mut waiters, now_here).is_none());
    }

    #[test]
    fn a_passed_deadline_says_whether_the_request_was_sent() {
        let mut waiters = Waiters::new(4);
        let queued = waiters.enter(SOON, None).unwrap();
        let sent = waiters.enter(SOON, None).unwrap();
        let later = waiters.enter(LATER, None).unwrap();
        waiters.mark_sent(sent);
        assert_eq!(waiters.expire(SOON, &mut Vec::new()), Some(LATER));
        assert!(matches!(
            outcome(&mut waiters, queued),
            Some(Outcome::TimedOut { sent: false })
        ));
        assert!(matches!(
            outcome(&mut waiters, sent),
            Some(Outcome::TimedOut { sent: true })
        ));
        assert!(outcome(&mut waiters, later).is_none());
        assert_eq!(waiters.expire(LATER, &mut Vec::new()), None);
    }

    #[test]
    fn a_lost_connection_ends_what_was_sent_and_keeps_what_was_not() {
        let mut waiters = Waiters::new(2);
        let queued = waiters.enter(SOON, None).unwrap();
        let sent = waiters.enter(SOON, None).unwrap();
        waiters.mark_sent(sent);
        waiters.end_sent(&Outcome::Lost, &mut Vec::new());
        assert!(matches!(outcome(&mut waiters, sent), Some(Outcome::Lost)));
        assert!(outcome(&mut waiters, queued).is_none());
        waiters.end_queued(&Outcome::Closed, &mut Vec::new());
        assert!(matches!(
            outcome(&mut waiters, queued),
            Some(Outcome::Closed)
        ));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter,
        Send(usize),
        End(usize),
        Take(usize),
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Enter),
            (0..20_usize).prop_map(Step::Send),
            (0..20_usize).prop_map(Step::End),
            (0..20_usize).prop_map(Step::Take),
            (0..20_usize).prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// The model keeps every caller that ever came: open or not, ended or not.
        #[test]
        fn callers_get_their_own_outcome_and_no_more_wait_than_may(steps in steps()) {
            const MAX: usize = 5;
            let mut waiters = Waiters::new(MAX);
            let mut model: Vec<(WaiterId, bool, bool)> = Vec::new();
            for step in steps {
                let open = model.iter().filter(|(_, open, _)| *open).count();
                match step {
                    Step::Enter => {
                        let entered = waiters.enter(SOON, None);
                        prop_assert_eq!(entered.is_some(), open < MAX);
                        model.extend(entered.map(|id| (id, true, false)));
                    }
                    Step::Send(n) => if let Some((id, open, ended)) = model.get(n) {
                        let marked = waiters.mark_sent(*id);
                        prop_assert!(!marked || (*open && !*ended));
                    },
                    Step::End(n) => if let Some((id, open, ended)) = model.get_mut(n) {
                        let refused = u32::try_from(n).unwrap();
                        let error = WireError::KeyTooLong { bytes: refused };
                        waiters.end(*id, Outcome::Decided(Err(error)));
                        *ended |= *open;
                    },
                    Step::Take(n) => if let Some((id, open, ended)) = model.get_mut(n) {
                        match outcome(&mut waiters, *id) {
                            None => prop_assert!(*open && !*ended),
                            Some(Outcome::Decided(Err(WireError::KeyTooLong { bytes }))) => {
                                prop_assert!(*open && *ended);
                                prop_assert_eq!(usize::try_from(bytes).unwrap(), n);
                                *open = false;
                            }
                            Some(other) => {
                                prop_assert!(!*open, "{:?}", other);
                            }
                        }
                    },
                    Step::Leave(n) => if let Some((id, open, _)) = model.get_mut(n) {
                        waiters.leave(*id);
                        *open = false;
                    },
                }
            }
        }
    }
}
