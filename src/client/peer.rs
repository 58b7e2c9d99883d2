//! A node's way to another node: the requests that it passes on, over one connection with one
//! stream, in the same frames as a client's.
//!
//! Everything is bounded: the checks that wait at once by [`CHECKS_MAX`], each by its deadline. A
//! lost connection is made again in the background, and while there is none because an attempt
//! failed, requests are turned away at once.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{ClientConfig, Connection};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::attempt::Attempt;
use super::backoff::Backoff;
use super::clock::Clock;
use super::dial::{Dialer, Greeting, Session};
use super::error::CheckError;
use super::health::{Health, Turned};
use super::lane::Lane;
use super::link::told;
use super::pace::Pace;
use super::peer_request::PeerRequest;
use super::quiet::{QUIET, quiet};
use super::seed::Seed;
use super::stream::{Spread, read_answers, write_requests};
use super::waiters::{Outcome, WaiterId};
use crate::protocol::client::ResponseBody;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// Least time between two looks at the deadlines: so much later than its deadline a request may end.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

/// An attempt to connect that has taken so long has lost its first packet, which was sent before the
/// peer began: QUIC sends it again later and later.
const STALE_AFTER: Duration = Duration::from_millis(100);

/// Most checks that wait for one peer at once, for each worker: twice what the peer takes in flight
/// on a stream by default, so that one full stream's worth may queue behind another.
pub(crate) const CHECKS_MAX: usize = 16 * 1024;

/// How connections to peers are made.
#[derive(Debug, Clone)]
pub(crate) struct PeerSetup {
    /// The node's certificate, and the protocol to speak.
    pub(crate) config: ClientConfig,
    /// The first words.
    pub(crate) greeting: Greeting,
    /// The address that packets come from; any unless told.
    pub(crate) from: Option<IpAddr>,
}

/// See the module. Its tasks end when it is dropped.
#[derive(Debug)]
pub(crate) struct PeerClient {
    line: Arc<Line>,
    waiting: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl PeerClient {
    /// A connection to the node at `address` (`host:port`), which is made in the background; requests
    /// wait for it. Must be called inside the tokio runtime that is to run it.
    pub(crate) fn new(address: &str, setup: PeerSetup) -> Self {
        let PeerSetup {
            config,
            greeting,
            from,
        } = setup;
        let line = Arc::new(Line {
            lane: Lane::new(CHECKS_MAX),
            clock: Clock::start(),
            connection: Mutex::new(None),
            next_look_ns: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
            reachable: Notify::new(),
        });
        let dialer = Dialer {
            seeds: vec![Seed::from(address)],
            config,
            greeting,
            from,
        };
        let mut tasks = JoinSet::new();
        let keeping = CloseWithTask(Arc::clone(&line));
        tasks.spawn(async move { keeping.0.keep_time().await });
        let running = CloseWithTask(Arc::clone(&line));
        tasks.spawn(async move { running.0.run(&dialer).await });
        Self {
            line,
            waiting: Arc::default(),
            _tasks: tasks,
        }
    }

    /// Whether its tasks have ended, with the runtime that ran them.
    pub(crate) fn is_closed(&self) -> bool {
        self.line.lane.health() == Health::Closed
    }

    /// Says that the peer lives, or has just begun to: if there is no connection one is made at once,
    /// and requests wait for it.
    pub(crate) fn hurry(&self) {
        if self.line.lane.health() != Health::Up {
            self.line.lane.retry();
            self.line.reachable.notify_one();
        }
    }

    /// Tells the peer that nothing more is asked. To be called when nothing is.
    pub(crate) fn close(&self) {
        self.line.close(b"");
    }

    /// Asks the peer; `after` begins when the future is first polled.
    ///
    /// Cancel safe: a dropped request is not sent, if it was not yet, and its answer is dropped.
    ///
    /// # Errors
    /// [`CheckError::Overloaded`] if too much waits for this peer; when awaited, any other one that
    /// is not the node's own answer.
    pub(crate) fn request(
        &self,
        request: PeerRequest,
        after: Duration,
    ) -> Result<impl Future<Output = Result<ResponseBody, CheckError>> + Send + use<>, CheckError>
    {
        let waiting = Waiting::enter(&self.waiting, request.checks)?;
        let line = Arc::clone(&self.line);
        Ok(async move {
            // As a whole: its field alone would leave the count behind.
            let waiting = waiting;
            let attempt = Attempt::new(line.clock.now(), None, 1, after);
            loop {
                let queued = line.enter(&request.body, waiting.checks, attempt.deadline)?;
                match queued.await {
                    // It waits for the next connection, or until its time is over.
                    Outcome::Unsent if line.clock.now() < attempt.deadline => {}
                    ended => return attempt.conclude(ended),
                }
            }
        })
    }
}

/// The connection, and who waits for an answer.
#[derive(Debug)]
struct Line {
    lane: Lane,
    clock: Clock,
    connection: Mutex<Option<Connection>>,
    /// When the deadlines are looked at next, in ns; `u64::MAX` meanwhile, or if nobody waits.
    next_look_ns: AtomicU64,
    /// Somebody waits whose deadline comes before that.
    sooner: Notify,
    /// Woken when there is reason to believe that the node can be reached now.
    reachable: Notify,
}

impl Line {
    fn enter(
        &self,
        body: &Bytes,
        checks: usize,
        deadline: Duration,
    ) -> Result<Queued<'_>, CheckError> {
        let entered = self.lane.request(body, checks, deadline, None);
        let waiter = entered.map_err(|turned| match turned {
            Turned::Full => CheckError::Overloaded,
            Turned::Down(error) => CheckError::Unreachable(error),
            Turned::Doubted | Turned::Vacant | Turned::Closed => CheckError::Closed,
        })?;
        if as_ns(deadline) < self.next_look_ns.load(Ordering::SeqCst) {
            self.sooner.notify_one();
        }
        Ok(Queued {
            lane: &self.lane,
            waiter: Some(waiter),
        })
    }

    /// Ends requests at their deadlines, for ever; gives the connection up if the node answers
    /// nothing.
    async fn keep_time(&self) {
        loop {
            // Who comes while this looks sees the highest number, and asks for another look.
            self.next_look_ns.store(u64::MAX, Ordering::SeqCst);
            let now = self.clock.now();
            let expiry = self.lane.expire(now);
            if expiry.silent {
                self.close(b"the node answers nothing");
            }
            let Some(next) = expiry.next else {
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

    fn close(&self, reason: &[u8]) {
        if let Some(connection) = self.connection.lock().take() {
            connection.close(CloseCode::Done.number(), reason);
        }
    }

    /// Waits until an attempt that has taken long is better begun anew.
    async fn is_stale(&self) {
        tokio::time::sleep(STALE_AFTER).await;
        self.reachable.notified().await;
    }

    /// Keeps the connection up, for ever.
    async fn run(&self, dialer: &Dialer) {
        let mut backoff = Backoff::default();
        let mut pace = Pace::default();
        loop {
            let connected = tokio::select! {
                biased;
                // Both arms are cancel safe.
                connected = dialer.connect(Vec::new()) => connected,
                () = self.is_stale() => continue,
            };
            match connected {
                Ok(session) => {
                    let address = session.address;
                    pace.restored(self.clock.now(), address);
                    let cause = self.serve(session).await;
                    if self.lane.detach() {
                        backoff.reset();
                    }
                    pace.lost(self.clock.now(), address, &cause);
                }
                Err(error) => {
                    pace.failed(self.clock.now(), &error);
                    self.lane.set_down(&Arc::new(error));
                }
            }
            tokio::select! {
                // Both arms are cancel safe.
                () = tokio::time::sleep(backoff.next_wait(rand::random())) => {}
                () = self.reachable.notified() => {}
            }
        }
    }

    /// Carries requests over `session` until it is lost, and says why it was.
    async fn serve(&self, session: Session) -> String {
        let in_flight_max = session.in_flight_max();
        let node = NodeId(session.welcome.node);
        let (mut send, mut receive) = session.first;
        let connection = session.connection;
        *self.connection.lock() = Some(connection.clone());
        self.lane.attach(self.clock.now(), node, in_flight_max);
        let now = || self.clock.now();
        let end = tokio::select! {
            // Whichever ends, the stream has.
            end = write_requests((now, || Spread::Several), &self.lane, &mut send) => told(&end),
            end = read_answers(now, &self.lane, &mut receive, session.read) => told(&end),
            () = quiet(&connection, || self.lane.is_owed(), |_| {}) => QUIET.to_owned(),
        };
        self.connection.lock().take();
        connection.close(CloseCode::Done.number(), b"");
        end
    }
}

/// Closes the lane when a task that it cannot do without ends: with the runtime, or by a bug.
struct CloseWithTask(Arc<Line>);

impl Drop for CloseWithTask {
    fn drop(&mut self) {
        self.0.lane.close();
    }
}

/// A queued request; resolves when its wait has ended, and leaves when dropped before.
struct Queued<'a> {
    lane: &'a Lane,
    waiter: Option<WaiterId>,
}

impl Future for Queued<'_> {
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

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.lane.leave(waiter);
        }
    }
}

fn as_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Checks that are counted until this is dropped.
struct Waiting {
    total: Arc<AtomicUsize>,
    checks: usize,
}

impl Waiting {
    fn enter(total: &Arc<AtomicUsize>, checks: usize) -> Result<Self, CheckError> {
        let before = total.fetch_add(checks, Ordering::Relaxed);
        let waiting = Self {
            total: Arc::clone(total),
            checks,
        };
        if before.saturating_add(checks) > CHECKS_MAX {
            return Err(CheckError::Overloaded);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.total.fetch_sub(self.checks, Ordering::Relaxed);
    }
}
