//! Keeps one connection alive: makes it, serves its lanes, makes it again.

use std::sync::Arc;

use parking_lot::Mutex;
use quinn::Connection;
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::core::Core;
use super::dial::{Dialer, Session};
use super::lane::Lane;
use super::pace::Pace;
use super::stream::{StreamEnd, read_answers, write_requests};
use crate::protocol::frame::FrameBuffer;
use crate::transport::CloseCode;

/// One connection and the lanes that it carries.
#[derive(Debug)]
pub(super) struct Link {
    core: Arc<Core>,
    dialer: Arc<Dialer>,
    first_lane: usize,
    lanes: usize,
    connection: Mutex<Option<Connection>>,
}

/// How a session ended.
struct Ended {
    cause: String,
    /// Whether the node answered anything in it.
    answered: bool,
}

impl Link {
    /// The link of `lanes` lanes from `first_lane` on.
    pub(super) fn new(
        core: Arc<Core>,
        dialer: Arc<Dialer>,
        first_lane: usize,
        lanes: usize,
    ) -> Self {
        Self {
            core,
            dialer,
            first_lane,
            lanes,
            connection: Mutex::new(None),
        }
    }

    /// Gives the connection up, so that another one is made: its node answers nothing.
    pub(super) fn give_up(&self) {
        let connection = self.connection.lock().take();
        if let Some(connection) = connection {
            connection.close(CloseCode::Done.number(), b"the node answers nothing");
        }
    }

    /// Keeps the link up, for ever; begins with `session` if there is one.
    pub(super) async fn run(self: Arc<Self>, mut session: Option<Session>) {
        let mut backoff = Backoff::default();
        let mut pace = Pace::default();
        loop {
            let connected = match session.take() {
                Some(session) => Ok(session),
                None => self.dialer.connect().await,
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
                    self.lanes().for_each(|(_, lane)| lane.set_down(&error));
                }
            }
            tokio::time::sleep(backoff.next_wait(rand::random())).await;
        }
    }

    fn lanes(&self) -> impl Iterator<Item = (usize, &Lane)> {
        let lanes = self.core.lanes().iter().enumerate();
        lanes.skip(self.first_lane).take(self.lanes)
    }

    /// Serves the lanes over `session` until it is lost.
    async fn serve(&self, session: Session) -> Ended {
        *self.connection.lock() = Some(session.connection.clone());
        let mut tasks = JoinSet::new();
        let outcome = self
            .attach(&session.connection.clone(), session, &mut tasks)
            .await;
        let cause = match outcome {
            Ok(()) => match tasks.join_next().await {
                Some(Ok(end)) => told(&end),
                Some(Err(error)) => error.to_string(),
                None => "there is no stream".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        if let Some(connection) = self.connection.lock().take() {
            connection.close(CloseCode::Done.number(), b"");
        }
        // Waits for them to end, lest an old task touches a lane that has a new stream.
        tasks.shutdown().await;
        let answered = self
            .lanes()
            .fold(false, |any, (_, lane)| lane.detach() || any);
        Ended { cause, answered }
    }

    /// Opens the streams and starts a reader and a writer on each.
    async fn attach(
        &self,
        connection: &Connection,
        session: Session,
        tasks: &mut JoinSet<StreamEnd>,
    ) -> Result<(), quinn::ConnectionError> {
        let in_flight_max = session.in_flight_max();
        let mut first = Some((session.first, session.read));
        for (n, lane) in self.lanes() {
            let ((send, recv), read) = match first.take() {
                Some(first) => first,
                None => (connection.open_bi().await?, FrameBuffer::default()),
            };
            lane.attach(self.core.now(), in_flight_max);
            self.start(n, send, recv, read, tasks);
        }
        Ok(())
    }

    fn start(
        &self,
        n: usize,
        mut send: quinn::SendStream,
        mut recv: quinn::RecvStream,
        read: FrameBuffer,
        tasks: &mut JoinSet<StreamEnd>,
    ) {
        let core = Arc::clone(&self.core);
        tasks.spawn(async move {
            let Some(lane) = core.lanes().get(n) else {
                return StreamEnd::Finished;
            };
            write_requests(|| core.now(), lane, &mut send).await
        });
        let core = Arc::clone(&self.core);
        tasks.spawn(async move {
            let Some(lane) = core.lanes().get(n) else {
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
