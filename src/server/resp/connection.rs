//! One connection of a Redis client: read what is there, decide it as one batch, write the answers.
//!
//! It holds one round, its answers, and at most one command that is not whole. It reads no further
//! while its answers are not taken, so that a slow reader is held back by TCP until its time is up.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

use super::parse::{Broken, Parser};
use super::password::Password;
use super::reply::error;
use super::round::{Next, Round};
use super::session::Session;
use crate::protocol::client::BATCH_MAX;
use crate::server::pieces::now_or_never;
use crate::server::{Desk, Mode, Protocol, Service, Stopping};

/// How long a check may take: the protocol has no deadlines, and clients give up after a few seconds.
const DECIDE_TIME: Duration = Duration::from_secs(2);

/// Room for a first read; connections that send more get more, up to [`READ_BYTES_MAX`].
const READ_BYTES_MIN: usize = 4 * 1024;

/// Most bytes that are read at once.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of answers that an idle connection keeps room for.
const IDLE_ANSWER_BYTES: usize = 4 * 1024;

/// How long, and for how many bytes, who sent what cannot be read is listened to, so that it gets to
/// read why.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);

/// The Redis protocol.
#[derive(Debug)]
pub(crate) struct Resp {
    password: Option<Password>,
    next_id: AtomicU64,
}

impl Resp {
    /// Serves who knows `password`, or everybody if there is none.
    pub(crate) fn new(password: Option<&str>) -> Self {
        Self {
            password: password.map(|password| Password::new(password.as_bytes())),
            next_id: AtomicU64::new(1),
        }
    }
}

impl<S: Service> Protocol<S> for Resp {
    const NAME: &'static str = "resp";

    async fn serve(self: Arc<Self>, stream: TcpStream, desk: Desk<S>, stopping: Stopping) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connection = Connection {
            stream,
            desk,
            session: Session::new(id, self.password.clone()),
            parser: Parser::default(),
            input: Vec::new(),
            room: READ_BYTES_MIN,
            out: Vec::new(),
        };
        connection.serve(stopping).await;
    }
}

struct Connection<S> {
    stream: TcpStream,
    desk: Desk<S>,
    session: Session,
    parser: Parser,
    /// What was read and not taken.
    input: Vec<u8>,
    /// Bytes to have room for before a read.
    room: usize,
    out: Vec<u8>,
}

/// The connection is to be closed.
struct Closed;

/// What a connection waits for besides bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Nothing: it may be idle for ever.
    Endless,
    /// The rest of a command.
    Command,
    /// The password.
    Password,
}

impl<S: Service> Connection<S> {
    async fn serve(mut self, stopping: Stopping) {
        let mut stop = pin!(stopping.begun());
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut patience = Patience::Endless;
        self.wait_for(self.wanted(), &mut patience, timer.as_mut());
        // A client that never stops sending would keep `stop` from being looked at.
        while !stopping.has_begun() {
            // Every branch is cancel safe: what is read is in the buffer, timers and `begun` are.
            let read = tokio::select! {
                biased;
                read = read(&mut self.stream, &mut self.input, &mut self.room) => read,
                () = timer.as_mut(), if patience != Patience::Endless => return,
                () = stop.as_mut() => break,
            };
            let before = self.input.len();
            if !matches!(read, Ok(bytes) if bytes > 0) || self.rounds().await.is_err() {
                return;
            }
            // A command's time begins with its first byte, and more bytes of it give no more time.
            if self.input.len() < before && patience == Patience::Command {
                patience = Patience::Endless;
            }
            self.wait_for(self.wanted(), &mut patience, timer.as_mut());
        }
        let last = now_or_never(read(&mut self.stream, &mut self.input, &mut self.room)).await;
        if matches!(last, Some(Ok(_))) && self.rounds().await.is_err() {
            return;
        }
        // Fails only if the client is gone.
        drop(self.stream.shutdown().await);
    }

    /// What must come in time.
    fn wanted(&self) -> Patience {
        if !self.session.is_let_in() {
            Patience::Password
        } else if self.input.is_empty() {
            Patience::Endless
        } else {
            Patience::Command
        }
    }

    /// Sets the timer for what is wanted, unless it runs for that already.
    fn wait_for(&self, wanted: Patience, now: &mut Patience, mut timer: Pin<&mut Sleep>) {
        if *now == wanted {
            return;
        }
        let bounds = &self.desk.admission().bounds;
        match wanted {
            Patience::Endless => {}
            Patience::Command => timer.set(sleep(bounds.slow_frame_timeout)),
            Patience::Password => timer.set(sleep(bounds.hello_timeout)),
        }
        *now = wanted;
    }

    /// Decides and answers all commands that were read.
    async fn rounds(&mut self) -> Result<(), Closed> {
        let checks_max = self.desk.admission().bounds.in_flight_max.min(BATCH_MAX);
        loop {
            let (parser, session) = (&mut self.parser, &mut self.session);
            let (round, taken, next) = Round::read(&mut self.input, parser, session, checks_max);
            let asks = round.asks();
            let decided = self.desk.decide(&asks, Mode::Count, DECIDE_TIME).await;
            round.write(&decided, &mut self.out);
            drop(asks);
            self.input.drain(..taken);
            if let Next::Broken(broken) = next {
                error(&mut self.out, format_args!("ERR Protocol error: {broken}"));
            }
            self.write().await?;
            match next {
                Next::Read => break,
                Next::Go => {}
                Next::Quit => {
                    // Fails only if the client is gone.
                    drop(self.stream.shutdown().await);
                    return Err(Closed);
                }
                Next::Broken(broken) => return self.hang_up(broken).await,
            }
        }
        if self.input.is_empty() && self.input.capacity() > self.room {
            self.input.shrink_to(READ_BYTES_MIN);
        }
        Ok(())
    }

    /// Writes the answers, in one go if the client takes them.
    async fn write(&mut self) -> Result<(), Closed> {
        if self.out.is_empty() {
            return Ok(());
        }
        let admission = self.desk.admission();
        let mut write = pin!(self.stream.write_all(&self.out));
        let written = if let Some(written) = now_or_never(write.as_mut()).await {
            written
        } else {
            let _unread = admission.unread(self.out.len()).ok_or(Closed)?;
            let limit = admission.bounds.slow_reader_timeout;
            timeout(limit, write).await.map_err(|_elapsed| Closed)?
        };
        written.map_err(|_gone| Closed)?;
        self.out.clear();
        if self.out.capacity() > IDLE_ANSWER_BYTES.max(self.room) {
            self.out.shrink_to(IDLE_ANSWER_BYTES);
        }
        Ok(())
    }

    /// Says no more, and takes no notice of what is still sent, until the client has read why.
    async fn hang_up(&mut self, broken: Broken) -> Result<(), Closed> {
        tracing::debug!(%broken, "connection closed: what came is no command");
        let (time, bytes_max) = LINGER;
        let linger = async {
            self.stream.shutdown().await?;
            let mut heard = 0_usize;
            while heard < bytes_max {
                self.input.clear();
                match read(&mut self.stream, &mut self.input, &mut self.room).await? {
                    0 => break,
                    bytes => heard = heard.saturating_add(bytes),
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // It is closed in any case.
        drop(timeout(time, linger).await);
        Err(Closed)
    }
}

/// Reads what is there behind what `input` holds. Cancel safe.
async fn read(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    room: &mut usize,
) -> std::io::Result<usize> {
    input.reserve(*room);
    let bytes = stream.read_buf(input).await?;
    if bytes >= *room {
        *room = room.saturating_mul(2).min(READ_BYTES_MAX);
    }
    Ok(bytes)
}
