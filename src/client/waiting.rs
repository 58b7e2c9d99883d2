//! A queued request and the choice of its lane.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::attempt::{Again, Attempt};
use super::core::Core;
use super::error::CheckError;
use super::health::{Doubt, Health, Turned};
use super::lane::Lane;
use super::place::Place;
use super::rest::Rest;
use super::waiters::{Outcome, WaiterId};
use crate::protocol::client::ResponseBody;
use crate::types::NodeId;

/// A queued request; resolves when its wait has ended, and leaves when dropped before.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    lane: &'a Lane,
    waiter: Option<WaiterId>,
}

/// Which lanes are looked at.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Those to the owner.
    Owner(Health),
    /// Those to who would take over from it.
    Replicas(Health),
    /// Those to anybody else.
    Others(Health),
    /// From here on, those that may be dead too.
    Doubted,
}

/// Somebody who answers now, and of those who pass it on whoever is the first to know a new owner;
/// else who may soon, else who may be dead.
const STEPS: [Step; 12] = [
    Step::Owner(Health::Up),
    Step::Replicas(Health::Up),
    Step::Others(Health::Up),
    Step::Owner(Health::Quiet),
    Step::Others(Health::Quiet),
    Step::Owner(Health::Connecting),
    Step::Others(Health::Connecting),
    Step::Doubted,
    Step::Owner(Health::Up),
    Step::Others(Health::Up),
    Step::Others(Health::Quiet),
    // To learn why it is down.
    Step::Owner(Health::Down),
];

/// The same, but rather the owner soon than somebody else now.
const INSISTING_STEPS: [Step; 12] = [
    Step::Owner(Health::Up),
    Step::Owner(Health::Connecting),
    Step::Replicas(Health::Up),
    Step::Others(Health::Up),
    Step::Owner(Health::Quiet),
    Step::Others(Health::Quiet),
    Step::Others(Health::Connecting),
    Step::Doubted,
    Step::Owner(Health::Up),
    Step::Others(Health::Up),
    Step::Others(Health::Quiet),
    Step::Owner(Health::Down),
];

impl Core {
    /// Queues a check that is encoded in `ask`.
    pub(super) fn queue_check(
        &self,
        attempt: &Attempt,
        ask: &[u8],
        waker: &Waker,
    ) -> Result<Waiting<'_>, CheckError> {
        let deadline = attempt.deadline;
        self.enter(attempt, |lane, doubt| {
            lane.check(ask, deadline, doubt, Some(waker.clone()))
        })
    }

    /// Queues a request of `checks` checks with this encoded body.
    pub(super) fn queue_request(
        &self,
        attempt: &Attempt,
        body: &Bytes,
        checks: usize,
    ) -> Result<Waiting<'_>, CheckError> {
        let deadline = attempt.deadline;
        self.enter(attempt, |lane, doubt| {
            lane.request(body, checks, deadline, doubt)
        })
    }

    /// Queues a request, again if need be, and waits for its answer.
    pub(super) async fn ask(
        &self,
        attempt: &mut Attempt,
        body: &Bytes,
        checks: usize,
    ) -> Result<ResponseBody, CheckError> {
        let waiting = self.queue_request(attempt, body, checks)?;
        self.finish(attempt, body, checks, waiting).await
    }

    /// Waits for the answer to a request that is queued.
    pub(super) async fn finish<'a>(
        &'a self,
        attempt: &mut Attempt,
        body: &Bytes,
        checks: usize,
        mut waiting: Waiting<'a>,
    ) -> Result<ResponseBody, CheckError> {
        loop {
            let outcome = (&mut waiting).await;
            match attempt.again(self, waiting.node(), &outcome) {
                Again::No => return attempt.conclude(outcome),
                Again::Now => {}
                Again::After(rest) => Rest::new(self, rest).await,
            }
            waiting = self
                .queue_request(attempt, body, checks)
                .map_err(|error| attempt.told(error))?;
        }
    }

    /// Finds a lane for the call.
    fn enter(
        &self,
        attempt: &Attempt,
        enter: impl Fn(&Lane, Option<Doubt>) -> Result<WaiterId, Turned>,
    ) -> Result<Waiting<'_>, CheckError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(CheckError::Closed);
        }
        let holders = self.holders(attempt.slot);
        let owner = holders.owner();
        self.want(owner);
        let mut entry = Entry {
            first: self.next_lane.fetch_add(1, Ordering::Relaxed),
            doubt: attempt.doubt,
            enter,
            turned: Turned::Closed,
        };
        let steps = if attempt.insist {
            INSISTING_STEPS
        } else {
            STEPS
        };
        for step in steps {
            let found = match step {
                Step::Owner(health) => entry.at(self.place(owner), health),
                Step::Replicas(health) => holders.others().find_map(|place| {
                    self.want(place);
                    entry.at(self.place(place), health)
                }),
                Step::Others(health) => self.others(owner).find_map(|it| entry.at(it, health)),
                Step::Doubted => {
                    entry.doubt = None;
                    None
                }
            };
            if let Some(waiting) = found {
                self.watch(attempt.deadline);
                return Ok(waiting);
            }
        }
        Err(match entry.turned {
            Turned::Full => CheckError::Overloaded,
            Turned::Down(error) => CheckError::Unreachable(error),
            Turned::Doubted | Turned::Vacant | Turned::Closed => CheckError::Closed,
        })
    }

    /// Somebody asks the node of this place, or would.
    pub(super) fn want(&self, place: usize) {
        if self.place(place).want() {
            self.wanted.notify_one();
        }
    }

    /// The other places that may be asked, that of the seeds first.
    pub(super) fn others(&self, owner: usize) -> impl Iterator<Item = &Place> {
        let places = self.places.iter().enumerate();
        places
            .filter(move |(n, place)| *n != owner && place.stage().is_running())
            .map(|(_, place)| place)
    }
}

/// The search of one call for a lane.
struct Entry<F> {
    first: usize,
    doubt: Option<Doubt>,
    enter: F,
    /// The most telling reason why there is none.
    turned: Turned,
}

impl<F: Fn(&Lane, Option<Doubt>) -> Result<WaiterId, Turned>> Entry<F> {
    /// Takes the first lane of the place that is so and has room.
    fn at<'a>(&mut self, place: &'a Place, health: Health) -> Option<Waiting<'a>> {
        let lanes = place.lanes();
        let (before, from_first) = lanes.split_at(self.first.checked_rem(lanes.len())?);
        for lane in from_first.iter().chain(before) {
            if lane.health() != health {
                continue;
            }
            match (self.enter)(lane, self.doubt) {
                Ok(waiter) => return Some(Waiting::new(lane, waiter)),
                Err(turned) if turned.tells() > self.turned.tells() => self.turned = turned,
                Err(_) => {}
            }
        }
        None
    }
}

impl<'a> Waiting<'a> {
    pub(super) const fn new(lane: &'a Lane, waiter: WaiterId) -> Self {
        Self {
            lane,
            waiter: Some(waiter),
        }
    }

    /// Whom its lane leads to.
    pub(super) fn node(&self) -> NodeId {
        self.lane.node()
    }

    /// Has it sent though nobody waits for the answer.
    pub(super) fn detach(mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.lane.detach_waiter(waiter);
        }
    }
}

impl Future for Waiting<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(waiter) = self.waiter else {
            return Poll::Ready(Outcome::Closed);
        };
        let polled = self.lane.poll(waiter, cx.waker());
        if polled.is_ready() {
            self.waiter = None;
        }
        polled
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.lane.leave(waiter);
        }
    }
}
