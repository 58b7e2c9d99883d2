//! What the clones of a client, its calls and its tasks share: the lanes, and who watches deadlines.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::check::encode_body;
use super::clock::Clock;
use super::error::CheckError;
use super::lane::{Health, Lane, Turned};
use super::waiters::{Outcome, WaiterId};
use crate::protocol::client::{RequestBody, ResponseBody};

/// Least time between two looks at the deadlines: so much later than its deadline a call may end.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    /// The lanes of a connection stand together.
    lanes: Box<[Lane]>,
    clock: Clock,
    next_lane: AtomicUsize,
    /// When the timekeeper looks at the deadlines next, in ns; `u64::MAX` while it looks or if
    /// nobody waits.
    next_look_ns: AtomicU64,
    sooner: Notify,
}

impl Core {
    /// So many lanes, without streams yet, each for at most `waiting_max` callers at once.
    pub(super) fn new(lanes: usize, waiting_max: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Lane::new(waiting_max)).collect(),
            clock: Clock::start(),
            next_lane: AtomicUsize::new(0),
            next_look_ns: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
        }
    }

    /// Time since the client was made.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// All lanes.
    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Ends everything that waits, for good.
    pub(super) fn close(&self) {
        self.lanes.iter().for_each(Lane::close);
    }

    /// Queues a check that is encoded in `ask`.
    pub(super) fn check(
        &self,
        ask: &[u8],
        deadline: Duration,
        waker: &Waker,
    ) -> Result<Waiting<'_>, CheckError> {
        self.enter(deadline, |lane| {
            lane.check(ask, deadline, Some(waker.clone()))
        })
    }

    /// Queues a request of `checks` checks with this encoded body.
    pub(super) fn queue_request(
        &self,
        body: &Bytes,
        checks: usize,
        deadline: Duration,
    ) -> Result<Waiting<'_>, CheckError> {
        self.enter(deadline, |lane| lane.request(body, checks, deadline))
    }

    /// Asks what is not sent twice, and waits for the answer.
    ///
    /// Cancel safe: a dropped request is not sent, if it was not yet, and its answer is dropped.
    pub(super) async fn request(
        &self,
        body: &RequestBody<'_>,
        after: Duration,
    ) -> Result<ResponseBody, CheckError> {
        let deadline = self.now().saturating_add(after);
        let waiting = self.queue_request(&encode_body(body)?, 1, deadline)?;
        let answer = waiting.await.into_answer(after)?;
        match answer {
            ResponseBody::Failed(error) => Err(error.into()),
            other => Ok(other),
        }
    }

    /// Finds a lane: one with a stream, else one that may get one soon.
    fn enter(
        &self,
        deadline: Duration,
        enter: impl Fn(&Lane) -> Result<WaiterId, Turned>,
    ) -> Result<Waiting<'_>, CheckError> {
        let first = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let (from_first, before) = {
            let (before, from_first) = self.lanes.split_at(first % self.lanes.len().max(1));
            (from_first, before)
        };
        let mut turned = Turned::Closed;
        for health in [Health::Up, Health::Connecting, Health::Down] {
            for lane in from_first.iter().chain(before) {
                if lane.health() != health {
                    continue;
                }
                match enter(lane) {
                    Ok(waiter) => {
                        self.watch(deadline);
                        return Ok(Waiting::new(lane, waiter));
                    }
                    Err(Turned::Full) => turned = Turned::Full,
                    Err(other) if matches!(turned, Turned::Closed) => turned = other,
                    Err(_) => {}
                }
            }
        }
        Err(match turned {
            Turned::Full => CheckError::Overloaded,
            Turned::Down(error) => CheckError::Unreachable(error),
            Turned::Closed => CheckError::Closed,
        })
    }

    /// Sees to it that the timekeeper looks by `deadline`.
    fn watch(&self, deadline: Duration) {
        if as_ns(deadline) < self.next_look_ns.load(Ordering::SeqCst) {
            self.sooner.notify_one();
        }
    }

    /// Ends calls at their deadlines, for ever; tells `silent` the number of each lane whose node
    /// answers nothing.
    pub(super) async fn keep_time(&self, silent: impl Fn(usize)) {
        loop {
            // Who comes while this looks sees the highest number, and asks for another look.
            self.next_look_ns.store(u64::MAX, Ordering::SeqCst);
            let now = self.now();
            let mut next: Option<Duration> = None;
            for (n, lane) in self.lanes.iter().enumerate() {
                let expiry = lane.expire(now);
                if expiry.silent {
                    silent(n);
                }
                next = [next, expiry.next].into_iter().flatten().min();
            }
            let Some(next) = next else {
                self.sooner.notified().await;
                continue;
            };
            let next = next.max(now.saturating_add(DEADLINE_SLACK));
            self.next_look_ns.store(as_ns(next), Ordering::SeqCst);
            tokio::select! {
                // Both arms are cancel safe.
                () = tokio::time::sleep(next.saturating_sub(now)) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

/// A queued request; resolves when its wait has ended, and leaves when dropped before.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    lane: &'a Lane,
    waiter: Option<WaiterId>,
}

impl<'a> Waiting<'a> {
    const fn new(lane: &'a Lane, waiter: WaiterId) -> Self {
        Self {
            lane,
            waiter: Some(waiter),
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

impl Outcome {
    /// The answer to a whole request, or why there is none.
    pub(super) fn into_answer(self, after: Duration) -> Result<ResponseBody, CheckError> {
        match self {
            Self::Answered(body) => Ok(body),
            Self::Decided(Ok(_)) | Self::Misfit => Err(CheckError::UnexpectedAnswer),
            Self::Decided(Err(error)) => Err(error.into()),
            Self::TimedOut { sent } => Err(CheckError::Timeout {
                after,
                maybe_counted: sent,
            }),
            Self::Lost => Err(CheckError::ConnectionLost),
            Self::Unreachable(error) => Err(CheckError::Unreachable(error)),
            Self::Closed => Err(CheckError::Closed),
        }
    }
}

fn as_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
