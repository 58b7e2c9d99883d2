//! Keeps one connection alive: makes it, serves its lanes, makes it again.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::core::Core;
use super::dial::{Dialer, Session};
use super::error::ConnectError;
use super::lane::Lane;
use super::pace::Pace;
use super::place::{Place, Spoken, Stage};
use super::quiet::{QUIET, quiet};
use super::seats::SEEDS;
use super::stream::{StreamEnd, read_answers, write_requests};
use crate::protocol::frame::FrameBuffer;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// Longest time for which calls to a node that has left the routes are still waited for: more than
/// most deadlines.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Looks in that time.
const DRAIN_LOOKS: u32 = 100;

/// One connection and the lanes that it carries.
#[derive(Debug)]
pub(super) struct Link {
    core: Arc<Core>,
    dialer: Arc<Dialer>,
    place: usize,
    /// Number of the connection in its place.
    n: usize,
}

/// How a session ended.
struct Ended {
    cause: String,
    /// Whether the node answered anything in it.
    answered: bool,
}

impl Link {
    /// The link of connection `n` of a place.
    pub(super) const fn new(core: Arc<Core>, dialer: Arc<Dialer>, place: usize, n: usize) -> Self {
        Self {
            core,
            dialer,
            place,
            n,
        }
    }

    /// Keeps the link up until its node leaves the routes; begins with `session` if there is one.
    pub(super) async fn run(self, mut session: Option<Session>) {
        let mut backoff = Backoff::default();
        let mut pace = Pace::default();
        while self.place().stage() != Stage::Retiring {
            let first = session.take();
            let connected = tokio::select! {
                // Both arms are cancel safe.
                connected = self.connect(first) => connected,
                () = self.place().retired() => return,
            };
            match connected {
                Ok(session) => {
                    let address = session.address;
                    pace.restored(self.core.now(), address);
                    let ended = self.serve(session).await;
                    if ended.answered {
                        backoff.reset();
                    }
                    pace.lost(self.core.now(), address, &ended.cause);
                }
                Err(error) => {
                    pace.failed(self.core.now(), &error);
                    let error = Arc::new(error);
                    self.lanes().iter().for_each(|lane| lane.set_down(&error));
                }
            }
            tokio::select! {
                // Both arms are cancel safe.
                () = tokio::time::sleep(backoff.next_wait(rand::random())) => {}
                () = self.place().retired() => {}
            }
        }
    }

    fn place(&self) -> &Place {
        self.core.place(self.place)
    }

    fn lanes(&self) -> &[Lane] {
        self.place().lanes_of(self.n)
    }

    /// Finds a node, unless there is a session already; a node's own link none of another cluster.
    async fn connect(&self, session: Option<Session>) -> Result<Session, ConnectError> {
        if let Some(session) = session {
            return Ok(session);
        }
        if self.place == SEEDS {
            return self.dialer.connect(self.core.addresses()).await;
        }
        let session = self.dialer.connect(Vec::new()).await?;
        if session.welcome.cluster != self.core.cluster() {
            let address = session.address;
            session.connection.close(CloseCode::Done.number(), b"");
            return Err(ConnectError::OtherCluster { address });
        }
        Ok(session)
    }

    /// Serves the lanes over `session` until it is lost, or the node has left the routes.
    async fn serve(&self, session: Session) -> Ended {
        if self.place == SEEDS {
            self.core.seed_connected(self.n, &session.welcome);
        }
        let connection = session.connection.clone();
        let spoken = Spoken {
            connection: connection.clone(),
            version: session.welcome.version,
        };
        self.place().set_connection(self.n, Some(spoken));
        let mut tasks = JoinSet::new();
        let cause = match self.attach(&connection, session, &mut tasks).await {
            Ok(()) => tokio::select! {
                // Both arms are cancel safe.
                ended = tasks.join_next() => match ended {
                    Some(Ok(end)) => told(&end),
                    Some(Err(error)) => error.to_string(),
                    None => "there is no stream".to_owned(),
                },
                () = self.drained() => "the node owns nothing any more".to_owned(),
                () = self.died(&connection) => QUIET.to_owned(),
            },
            Err(error) => error.to_string(),
        };
        drop(self.place().take_connection(self.n));
        connection.close(CloseCode::Done.number(), b"");
        // Waits for them to end, lest an old task touches a lane that has a new stream.
        tasks.shutdown().await;
        if self.place == SEEDS {
            self.core.seed_lost(self.n);
        }
        let mut answered = false;
        for lane in self.lanes() {
            answered |= lane.detach();
        }
        Ended { cause, answered }
    }

    /// Waits until the node is dead; while it is silent, its lanes are taken last.
    async fn died(&self, connection: &Connection) {
        let owes = || self.lanes().iter().any(Lane::is_owed);
        let tell = |silent| self.lanes().iter().for_each(|it| it.set_quiet(silent));
        quiet(connection, owes, tell).await;
    }

    /// Waits until the node has left the routes and what was asked is answered.
    async fn drained(&self) {
        self.place().retired().await;
        for _ in 0..DRAIN_LOOKS {
            // First of all: calls that have just chosen this place are about to be queued.
            tokio::time::sleep(DRAIN_MAX / DRAIN_LOOKS).await;
            if self.lanes().iter().all(Lane::is_idle) {
                return;
            }
        }
    }

    /// Opens the streams and starts a reader and a writer on each.
    async fn attach(
        &self,
        connection: &Connection,
        session: Session,
        tasks: &mut JoinSet<StreamEnd>,
    ) -> Result<(), quinn::ConnectionError> {
        let node = NodeId(session.welcome.node);
        let in_flight_max = session.in_flight_max();
        let mut first = Some((session.first, session.read));
        for (n, lane) in self.lanes().iter().enumerate() {
            let ((send, recv), read) = match first.take() {
                Some(first) => first,
                None => (connection.open_bi().await?, FrameBuffer::default()),
            };
            lane.attach(self.core.now(), node, in_flight_max);
            self.start(n, send, recv, read, tasks);
        }
        self.core.connected.notify_one();
        Ok(())
    }

    fn start(
        &self,
        lane: usize,
        mut send: quinn::SendStream,
        mut recv: quinn::RecvStream,
        read: FrameBuffer,
        tasks: &mut JoinSet<StreamEnd>,
    ) {
        let (core, place, n) = (Arc::clone(&self.core), self.place, self.n);
        tasks.spawn(async move {
            let Some(lane) = core.place(place).lanes_of(n).get(lane) else {
                return StreamEnd::Finished;
            };
            write_requests((|| core.now(), || core.spread()), lane, &mut send).await
        });
        let core = Arc::clone(&self.core);
        tasks.spawn(async move {
            let Some(lane) = core.place(place).lanes_of(n).get(lane) else {
                return StreamEnd::Finished;
            };
            read_answers(|| core.now(), lane, &mut recv, read).await
        });
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        told.push_str(": ");
        told.push_str(&next.to_string());
        cause = next.source();
    }
    told
}
