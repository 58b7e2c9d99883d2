//! One stream's worth of callers: who waits, what is queued, what is in flight, under one lock.
//!
//! A lane outlives its stream, and the node that it led to: when a connection is lost, what was
//! sent ends as lost, and what was only queued is sent away to look for another lane. Nothing waits
//! or wakes under the lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::batch::{Queue, Whole};
use super::error::ConnectError;
use super::health::{Doubt, Health, Turned};
use super::pending::Pending;
use super::waiters::{Outcome, WaiterId, Waiters};
use crate::protocol::client::Response;
use crate::types::NodeId;

/// Bytes taken for one write before the queue is looked at again: one frame of the longest, or
/// many short ones.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What a look at the deadlines found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Expiry {
    /// When to look again.
    pub(super) next: Option<Duration>,
    /// The node answers nothing: give its connection up.
    pub(super) silent: bool,
}

enum Link {
    Connecting,
    Up { in_flight_max: usize },
    Down(Arc<ConnectError>),
    Vacant,
    Closed,
}

/// See the module.
pub(super) struct Lane {
    /// `Link` as a number, to choose a lane without its lock; what is under the lock decides.
    health: AtomicU8,
    state: Mutex<State>,
}

struct State {
    link: Link,
    /// Whom the stream leads to, or the last one led to.
    node: NodeId,
    waiters: Waiters,
    queue: Queue,
    pending: Pending,
    writer: Option<Waker>,
    /// When something last came from the node.
    heard: Duration,
    /// Whether it answered anything on this stream.
    answered: bool,
}

impl fmt::Debug for Lane {
    /// Without what is queued, which holds keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.health()).finish()
    }
}

impl Lane {
    /// A lane without a stream, for at most `waiting_max` callers at once.
    pub(super) fn new(waiting_max: usize) -> Self {
        Self {
            health: AtomicU8::new(Health::Connecting as u8),
            state: Mutex::new(State {
                link: Link::Connecting,
                node: NodeId::default(),
                waiters: Waiters::new(waiting_max),
                queue: Queue::default(),
                pending: Pending::default(),
                writer: None,
                heard: Duration::ZERO,
                answered: false,
            }),
        }
    }

    /// How the lane was a moment ago.
    pub(super) fn health(&self) -> Health {
        Health::of_number(self.health.load(Ordering::Relaxed))
    }

    /// Queues a check that is encoded in `ask`.
    pub(super) fn check(
        &self,
        ask: &[u8],
        deadline: Duration,
        doubt: Option<Doubt>,
        waker: Option<Waker>,
    ) -> Result<WaiterId, Turned> {
        self.enter(deadline, doubt, waker, |queue, waiter| {
            queue.push_check(ask, waiter, deadline);
        })
    }

    /// Queues a request of `checks` checks with this encoded body.
    pub(super) fn request(
        &self,
        body: &Bytes,
        checks: usize,
        deadline: Duration,
        doubt: Option<Doubt>,
    ) -> Result<WaiterId, Turned> {
        self.enter(deadline, doubt, None, |queue, waiter| {
            queue.push_whole(Whole {
                body: body.clone(),
                checks,
                waiter,
                deadline,
            });
        })
    }

    fn enter(
        &self,
        deadline: Duration,
        doubt: Option<Doubt>,
        waker: Option<Waker>,
        push: impl FnOnce(&mut Queue, WaiterId),
    ) -> Result<WaiterId, Turned> {
        let mut state = self.state.lock();
        match &state.link {
            Link::Up { .. } if doubt.is_some_and(|doubt| state.is_doubted(doubt)) => {
                return Err(Turned::Doubted);
            }
            Link::Connecting | Link::Up { .. } => {}
            Link::Down(error) => return Err(Turned::Down(Arc::clone(error))),
            Link::Vacant => return Err(Turned::Vacant),
            Link::Closed => return Err(Turned::Closed),
        }
        let waiter = state.waiters.enter(deadline, waker).ok_or(Turned::Full)?;
        push(&mut state.queue, waiter);
        let writer = state.writer_to_wake();
        drop(state);
        wake(writer);
        Ok(waiter)
    }

    /// How the caller's wait ended, if it did; that gives its place up.
    pub(super) fn poll(&self, waiter: WaiterId, waker: &Waker) -> Poll<Outcome> {
        self.state.lock().waiters.poll(waiter, waker)
    }

    /// The caller waits no more.
    pub(super) fn leave(&self, waiter: WaiterId) {
        self.state.lock().waiters.leave(waiter);
    }

    /// The caller waits no more, but its request is to be sent all the same.
    pub(super) fn detach_waiter(&self, waiter: WaiterId) {
        self.state.lock().waiters.detach(waiter);
    }

    /// Whom the stream leads to, or the last one led to.
    pub(super) fn node(&self) -> NodeId {
        self.state.lock().node
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().waiters.is_empty()
    }

    /// Whether a request has no answer yet, though perhaps nobody waits for it any more.
    pub(super) fn is_owed(&self) -> bool {
        let state = self.state.lock();
        !state.pending.is_empty() || !state.waiters.is_empty()
    }

    /// Ready when there is something that may be sent.
    pub(super) fn poll_work(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.may_send() {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Appends the frames that may be sent now to `out`; they count as sent from here on. Says how
    /// many checks are then on their way.
    pub(super) fn take_work(&self, now: Duration, out: &mut Vec<u8>) -> usize {
        let mut state = self.state.lock();
        let State {
            waiters,
            queue,
            pending,
            link,
            ..
        } = &mut *state;
        while out.len() < WRITE_BYTES_MAX && may_send(link, queue, pending) {
            let still_waits = |waiter| waiters.mark_sent(waiter);
            if let Some(sent) = queue.pop_frame(now, pending.next_id(), out, still_waits) {
                pending.add(sent);
            }
        }
        pending.checks()
    }

    /// Hands out answers; `wakers` is only room for this call, and empty before and after.
    pub(super) fn answered(
        &self,
        now: Duration,
        responses: &mut Vec<Response>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut state = self.state.lock();
        state.heard = now;
        state.answered |= !responses.is_empty();
        for response in responses.drain(..) {
            // Nobody asked, or nobody waits any more: a late answer is dropped.
            if let Some(sent) = state.pending.take(response.id) {
                sent.hand_out(response.body, &mut state.waiters, wakers);
            }
        }
        wakers.extend(state.writer_to_wake());
        drop(state);
        wake(wakers.drain(..));
    }

    /// There is a stream to `node`, on which it takes so many checks in flight.
    pub(super) fn attach(&self, now: Duration, node: NodeId, in_flight_max: usize) {
        let mut state = self.state.lock();
        state.heard = now;
        state.node = node;
        state.link = Link::Up { in_flight_max };
        self.publish(Health::Up);
        let writer = state.writer_to_wake();
        drop(state);
        wake(writer);
    }

    /// The stream is lost: ends what was sent, and sends away what was not. Whether the node ever
    /// answered on it.
    pub(super) fn detach(&self) -> bool {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        state.link = Link::Connecting;
        self.publish(Health::Connecting);
        state.lose_sent(&mut wakers);
        state.waiters.end_queued(&Outcome::Unsent, &mut wakers);
        state.queue.clear();
        let answered = std::mem::take(&mut state.answered);
        drop(state);
        wake(wakers);
        answered
    }

    /// The node has acknowledged nothing for a while, or does so again. While it is silent, calls
    /// look for another lane first, and so do those that are queued and not sent.
    pub(super) fn set_quiet(&self, quiet: bool) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let Link::Up { .. } = state.link else {
            return;
        };
        if quiet {
            self.publish(Health::Quiet);
            state.waiters.end_queued(&Outcome::Unsent, &mut wakers);
            state.queue.clear();
        } else {
            self.publish(Health::Up);
        }
        drop(state);
        wake(wakers);
    }

    /// An attempt to connect failed: ends what is queued, and turns away what comes.
    pub(super) fn set_down(&self, error: &Arc<ConnectError>) {
        self.refuse(
            Link::Down(Arc::clone(error)),
            Health::Down,
            &Outcome::Unreachable(Arc::clone(error)),
        );
    }

    /// There is reason to believe that the node can be reached now: calls wait for the next attempt.
    #[cfg(feature = "server")]
    pub(super) fn retry(&self) {
        let mut state = self.state.lock();
        if let Link::Down(_) = state.link {
            state.link = Link::Connecting;
            self.publish(Health::Connecting);
        }
    }

    /// The lane belongs to no node any more: ends what is left, and turns away what comes.
    pub(super) fn vacate(&self) {
        self.refuse(Link::Vacant, Health::Vacant, &Outcome::Unsent);
    }

    /// The lane belongs to a node again, and may get a stream soon.
    pub(super) fn reopen(&self) {
        let mut state = self.state.lock();
        state.link = Link::Connecting;
        self.publish(Health::Connecting);
    }

    /// The client's tasks have ended: ends everything, for good.
    pub(super) fn close(&self) {
        self.refuse(Link::Closed, Health::Closed, &Outcome::Closed);
    }

    fn refuse(&self, link: Link, health: Health, queued: &Outcome) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        state.link = link;
        self.publish(health);
        state.lose_sent(&mut wakers);
        state.waiters.end_queued(queued, &mut wakers);
        state.queue.clear();
        drop(state);
        wake(wakers);
    }

    /// Ends the waits whose deadline has passed.
    pub(super) fn expire(&self, now: Duration) -> Expiry {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let mut next = state.waiters.expire(now, &mut wakers);
        let forgotten = state.pending.forget(now);
        let silent = forgotten.is_some_and(|sent| state.heard < sent);
        next = [next, state.pending.next_to_forget()]
            .into_iter()
            .flatten()
            .min();
        wakers.extend(state.writer_to_wake());
        drop(state);
        wake(wakers);
        Expiry { next, silent }
    }

    fn publish(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

impl State {
    fn is_doubted(&self, doubt: Doubt) -> bool {
        doubt.node.is_none_or(|node| node == self.node) && self.heard < doubt.since
    }

    fn may_send(&self) -> bool {
        may_send(&self.link, &self.queue, &self.pending)
    }

    fn writer_to_wake(&mut self) -> Option<Waker> {
        if self.writer.is_some() && self.may_send() {
            self.writer.take()
        } else {
            None
        }
    }

    fn lose_sent(&mut self, wakers: &mut Vec<Waker>) {
        self.pending.clear();
        self.writer = None;
        let heard = self.heard;
        self.waiters.end_sent(&Outcome::Lost { heard }, wakers);
    }
}

/// Whether the next request may be sent: the node takes so many checks in flight and no more. One
/// that is larger than that goes alone.
fn may_send(link: &Link, queue: &Queue, pending: &Pending) -> bool {
    let Link::Up { in_flight_max } = link else {
        return false;
    };
    queue.next_checks().is_some_and(|checks| {
        pending.is_empty() || pending.checks().saturating_add(checks) <= *in_flight_max
    })
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
