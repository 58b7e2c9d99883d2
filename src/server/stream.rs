//! One stream of requests: read what is there, decide it, write the answers, park what must wait.
//!
//! A stream holds at most one round of requests, the answers to it, what is parked and what is
//! deferred. It reads
//! no further while its answers are not taken, so that a slow reader is held back by QUIC's own
//! flow control until its time is up.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{Sleep, sleep, timeout};

use super::admission::Admission;
use super::bounds::{PIECES, ROUND_BYTES_MAX};
use super::deferred::{Deferred, Done};
use super::encode::Outcome;
use super::parked::Parked;
use super::pieces::{now_or_never, read, write_all};
use super::quic::{Server, Stopping};
use super::round::{Next, Round, Terms};
use super::service::{Kept, Service, Via};
use crate::protocol::error::WireError;
use crate::protocol::frame::FrameBuffer;
use crate::transport::CloseCode;
use crate::transport::endpoint::{probe, silent};
use crate::types::MonoTime;

/// Bytes of answers that an idle stream keeps room for.
const IDLE_ANSWER_BYTES: usize = 16 * 1024;

/// A client that acknowledges nothing for so many looks at the end of a stream, two seconds, is gone.
const GONE_LOOK: Duration = Duration::from_millis(250);
const GONE_LOOKS: u32 = 8;

/// A stream of requests and what is in progress on it.
pub(super) struct Stream<S> {
    server: Arc<Server<S>>,
    via: Via,
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    buffer: FrameBuffer,
    round: Round,
    parked: Parked,
    deferred: Deferred,
    out: Vec<u8>,
    pieces: [Bytes; PIECES],
    /// Whether a frame has begun whose end is not there.
    half_frame: bool,
    /// When everything that had arrived was last taken.
    looked: MonoTime,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order: all that was read is answered, and the client has the answers.
    Finished,
    /// The other side, or the connection, is gone.
    Lost,
    /// The stream was reset; the connection goes on.
    Reset(CloseCode),
    /// The connection cannot go on.
    Close(CloseCode),
}

/// What a stream waits for.
enum Event {
    /// So many pieces arrived.
    Read { pieces: usize, waited: bool },
    /// The client sends no more.
    ReadEnd,
    /// The connection or stream is gone.
    Lost,
    /// What the first parked group waited for is decided.
    Kept(Result<Kept, WireError>),
    /// Something that deferred requests waited for is done.
    Done(Done),
    /// The rest of a frame did not come in time.
    SlowFrame,
    /// The node stops.
    Stop,
}

impl<S: Service> Stream<S> {
    /// A stream on which `buffer` was read already.
    pub(super) fn new(
        server: Arc<Server<S>>,
        via: Via,
        (connection, send, receive): (Connection, SendStream, RecvStream),
        buffer: FrameBuffer,
    ) -> Self {
        Self {
            looked: server.now(),
            server,
            via,
            connection,
            send,
            receive,
            buffer,
            round: Round::default(),
            parked: Parked::default(),
            deferred: Deferred::default(),
            out: Vec::new(),
            pieces: std::array::from_fn(|_| Bytes::new()),
            half_frame: false,
        }
    }

    /// Serves the stream to its end.
    pub(super) async fn serve(mut self, stopping: Stopping) -> End {
        let end = match self.requests(stopping).await {
            Ok(()) => self.finish().await,
            Err(end) => end,
        };
        if let End::Reset(code) | End::Close(code) = end {
            // Fails only if the stream is gone, which is all that is wanted.
            drop(self.send.reset(code.number()));
            drop(self.receive.stop(code.number()));
        }
        end
    }

    /// Reads and answers until the client sends no more or the node stops.
    async fn requests(&mut self, stopping: Stopping) -> Result<(), End> {
        let mut slow_frame = pin!(sleep(self.admission().bounds.slow_frame_timeout));
        let mut stop = pin!(stopping.begun());
        // The hello's stream may have brought requests along.
        self.round(0, slow_frame.as_mut()).await?;
        // A client that never stops sending would keep `stop` from being looked at.
        while !stopping.has_begun() {
            let slow = self.half_frame.then_some(slow_frame.as_mut());
            match self.event(slow, stop.as_mut()).await {
                Event::Read { pieces, waited } => {
                    let held_ms = self.take(pieces, waited).await;
                    self.round(held_ms, slow_frame.as_mut()).await?;
                }
                Event::Kept(kept) => {
                    self.looked = self.server.now();
                    self.release(&kept);
                    self.release_ready().await;
                    self.write().await?;
                }
                Event::Done(done) => {
                    self.looked = self.server.now();
                    self.take_done(done);
                    self.release_ready().await;
                    self.write().await?;
                }
                Event::ReadEnd if self.half_frame => return Err(End::Reset(CloseCode::BadFrame)),
                Event::ReadEnd => return Ok(()),
                Event::Lost => return Err(End::Lost),
                Event::SlowFrame => {
                    self.write_waiting().await?;
                    return Err(End::Reset(CloseCode::SlowFrame));
                }
                Event::Stop => break,
            }
        }
        let last = now_or_never(read(&mut self.receive, &mut self.pieces)).await;
        if let Some((Ok(Some(pieces)), _)) = last {
            let held_ms = self.take(pieces, false).await;
            self.round(held_ms, slow_frame.as_mut()).await?;
        }
        // Fails only if the client has sent all, which is as good.
        drop(self.receive.stop(CloseCode::ShuttingDown.number()));
        Ok(())
    }

    /// Waits for whatever happens next; reading goes first.
    async fn event(
        &mut self,
        slow_frame: Option<Pin<&mut Sleep>>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Event {
        let first = self.parked.first();
        let service = self.server.service();
        let kept = async {
            match first {
                Some(wait) => service.kept(wait).await,
                None => std::future::pending().await,
            }
        };
        let too_slow = async {
            match slow_frame {
                Some(slow_frame) => slow_frame.await,
                None => std::future::pending().await,
            }
        };
        let has_deferred = !self.deferred.is_empty();
        // Every branch is cancel safe: quinn's reads, `kept` and `next` say so, timers are.
        tokio::select! {
            biased;
            (read, waited) = read(&mut self.receive, &mut self.pieces) => match read {
                Ok(Some(pieces)) => Event::Read { pieces, waited },
                Ok(None) => Event::ReadEnd,
                Err(_) => Event::Lost,
            },
            kept = kept => Event::Kept(kept),
            done = self.deferred.next(), if has_deferred => Event::Done(done),
            () = too_slow => Event::SlowFrame,
            () = stop => Event::Stop,
        }
    }

    /// Takes what was read, and what arrived since, up to a round's worth. Returns how long the
    /// first of it may have been held up.
    async fn take(&mut self, pieces: usize, waited: bool) -> u64 {
        let now = self.server.now();
        let held = if waited {
            Duration::ZERO
        } else {
            now.since(self.looked)
        };
        self.looked = now;
        let mut filled = pieces;
        loop {
            for piece in self.pieces.iter_mut().take(filled) {
                self.buffer.push(&std::mem::take(piece));
            }
            if filled < PIECES || self.buffer.len() >= ROUND_BYTES_MAX {
                break;
            }
            match now_or_never(read(&mut self.receive, &mut self.pieces)).await {
                Some((Ok(Some(more)), _)) => filled = more,
                // An end or a loss is seen again by the next read.
                Some((Ok(None) | Err(_), _)) | None => break,
            }
        }
        u64::try_from(held.as_millis()).unwrap_or(u64::MAX)
    }

    /// Decides and answers what is in the buffer. If half a frame is left, `slow_frame` is set to
    /// wait for its end.
    async fn round(&mut self, held_ms: u64, slow_frame: Pin<&mut Sleep>) -> Result<(), End> {
        let before = self.buffer.len();
        let server = Arc::clone(&self.server);
        let terms = Terms {
            service: server.service(),
            via: self.via,
            admission: server.admission(),
            held_ms,
            in_flight: self.parked.in_flight(),
        };
        let (buffer, deferred) = (&mut self.buffer, &mut self.deferred);
        let next = self.round.decide(buffer, &terms, deferred, &mut self.out);
        self.round.park(&mut self.parked, terms.admission);
        // What others decide is on its way before this node waits for its own commit.
        self.release_done().await;
        self.answer_round().await;
        self.release_ready().await;
        self.write().await?;
        if next == Next::Broken {
            self.write_waiting().await?;
            return Err(End::Reset(CloseCode::BadFrame));
        }
        let left = self.buffer.len();
        // A frame's time begins with its first byte, and more bytes of it give no more time.
        if left > 0 && (left < before || !self.half_frame) {
            let mut slow_frame = slow_frame;
            slow_frame.set(sleep(self.admission().bounds.slow_frame_timeout));
        }
        self.half_frame = left > 0;
        Ok(())
    }

    /// Encodes the round's answers, which may leave once what they wait for is kept.
    async fn answer_round(&mut self) {
        let start = self.out.len();
        self.round.encode(Outcome::Kept, &mut self.out);
        if let Some(wait) = self.round.wait() {
            let service = self.server.service();
            let is_lost = |wait| service.is_lost(wait);
            let kept = service.kept(wait).await;
            let is_all = match kept {
                Ok(Kept::All) => true,
                Ok(Kept::Some) => !self.round.is_any(is_lost),
                Err(_) => false,
            };
            if !is_all {
                self.out.truncate(start);
                let outcome = Outcome::of(&kept, &is_lost);
                self.round.encode(outcome, &mut self.out);
            }
        }
        self.round.clear();
    }

    /// Encodes the first parked group's answers.
    fn release(&mut self, kept: &Result<Kept, WireError>) {
        let service = self.server.service();
        let is_lost = |wait| service.is_lost(wait);
        self.parked
            .release(Outcome::of(kept, &is_lost), &mut self.out);
    }

    /// Takes something that deferred requests waited for.
    fn take_done(&mut self, done: Done) {
        let service = self.server.service();
        let is_lost = |wait| service.is_lost(wait);
        self.deferred.take(done, &is_lost, &mut self.out);
    }

    /// Encodes the answers of all groups that need not wait any more.
    async fn release_kept(&mut self) {
        while let Some(wait) = self.parked.first() {
            match now_or_never(self.server.service().kept(wait)).await {
                Some(kept) => self.release(&kept),
                None => break,
            }
        }
    }

    /// Starts what was deferred, and encodes the answers of what is done.
    async fn release_done(&mut self) {
        while !self.deferred.is_empty() {
            match now_or_never(self.deferred.next()).await {
                Some(done) => self.take_done(done),
                None => break,
            }
        }
    }

    /// Encodes all answers that are ready.
    async fn release_ready(&mut self) {
        self.release_kept().await;
        self.release_done().await;
    }

    /// Waits for all that is parked or deferred and writes it.
    async fn write_waiting(&mut self) -> Result<(), End> {
        self.deferred.cut(&mut self.out);
        self.write().await?;
        while let Some(wait) = self.parked.first() {
            let kept = self.server.service().kept(wait).await;
            self.release(&kept);
            self.release_ready().await;
            self.write().await?;
        }
        while !self.deferred.is_settled() {
            let done = self.deferred.next().await;
            self.take_done(done);
            self.release_done().await;
            self.write().await?;
        }
        Ok(())
    }

    /// Writes the answers, in one go if the client takes them.
    async fn write(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        write_all(&mut self.send, &self.out, self.server.admission()).await?;
        self.out.clear();
        if self.out.capacity() > IDLE_ANSWER_BYTES {
            self.out.shrink_to(IDLE_ANSWER_BYTES);
        }
        Ok(())
    }

    /// Answers what waits, says that nothing more comes, and waits until the client has it all.
    async fn finish(&mut self) -> End {
        if let Err(end) = self.write_waiting().await {
            return end;
        }
        if self.send.finish().is_err() {
            return End::Lost;
        }
        // A client that hangs or is gone without a word must not hold a stop up for the whole drain.
        let limit = self.admission().bounds.slow_reader_timeout;
        tokio::select! {
            stopped = timeout(limit, self.send.stopped()) => match stopped {
                Ok(Ok(_)) => End::Finished,
                Ok(Err(_)) => End::Lost,
                Err(_elapsed) => End::Close(CloseCode::SlowReader),
            },
            // Who lives acknowledges what is sent, whether it reads or not.
            () = silent(&self.connection, (GONE_LOOK, GONE_LOOKS), probe) => End::Lost,
        }
    }

    fn admission(&self) -> &Admission {
        self.server.admission()
    }
}
