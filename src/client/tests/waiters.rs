//! The waiting places: each caller gets its own outcome, and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;

use crate::client::waiters::{Outcome, WaiterId, Waiters};
use crate::protocol::error::WireError;

const SOON: Duration = Duration::from_millis(10);
const LOST: Outcome = Outcome::Lost {
    heard: Duration::ZERO,
};
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
    assert!(waiters.end(id, LOST).is_none(), "ended already");
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
    waiters.end_sent(&LOST, &mut Vec::new());
    assert!(matches!(
        outcome(&mut waiters, sent),
        Some(Outcome::Lost { .. })
    ));
    assert!(outcome(&mut waiters, queued).is_none());
    waiters.end_queued(&Outcome::Closed, &mut Vec::new());
    assert!(matches!(
        outcome(&mut waiters, queued),
        Some(Outcome::Closed)
    ));
}

#[test]
fn a_detached_place_is_free_when_its_wait_ends_however_it_ends() {
    type End = fn(&mut Waiters, WaiterId);
    let ends: [End; 4] = [
        |waiters, id| drop(waiters.end(id, Outcome::Misfit)),
        |waiters, _| assert_eq!(waiters.expire(SOON, &mut Vec::new()), None),
        |waiters, _| waiters.end_queued(&Outcome::Unsent, &mut Vec::new()),
        |waiters, _| waiters.end_sent(&LOST, &mut Vec::new()),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let mut waiters = Waiters::new(1);
        let id = waiters.enter(SOON, None).unwrap();
        waiters.detach(id);
        assert!(n == 2 || waiters.mark_sent(id), "it is sent all the same");
        assert!(waiters.enter(SOON, None).is_none());
        end(&mut waiters, id);
        assert!(waiters.is_empty() && waiters.enter(SOON, None).is_some());
    }
    let mut waiters = Waiters::new(1);
    let id = waiters.enter(SOON, None).unwrap();
    waiters.end(id, Outcome::Misfit);
    waiters.detach(id);
    assert!(waiters.enter(SOON, None).is_some(), "it had ended before");
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
