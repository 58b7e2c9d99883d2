//! One stream of requests: read what is there, decide it, write the answers, park what must wait.
//!
//! A stream holds at most one round of requests, the answers to it, and what is parked. It reads
//! no further while its answers are not taken, so that a slow reader is held back by QUIC's own
//! flow control until its time is up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream};
use tokio::time::{Sleep, sleep, timeout};

use super::admission::Admission;
use super::bounds::{PIECES, ROUND_BYTES_MAX};
use super::encode::Outcome;
use super::parked::Parked;
use super::quic::{Server, Stopping};
use super::round::{Next, Round, Terms};
use super::service::Service;
use crate::protocol::error::WireError;
use crate::protocol::frame::FrameBuffer;
use crate::transport::CloseCode;
use crate::types::MonoTime;

/// Bytes of answers that an idle stream keeps room for.
const IDLE_ANSWER_BYTES: usize = 16 * 1024;

/// A stream of requests and what is in progress on it.
pub(super) struct Stream<S> {
    server: Arc<Server<S>>,
    send: SendStream,
    receive: RecvStream,
    buffer: FrameBuffer,
    round: Round,
    parked: Parked,
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
    Kept(Result<(), WireError>),
    /// The rest of a frame did not come in time.
    SlowFrame,
    /// The node stops.
    Stop,
}

impl<S: Service> Stream<S> {
    /// A stream on which `buffer` was read already.
    pub(super) fn new(
        server: Arc<Server<S>>,
        send: SendStream,
        receive: RecvStream,
        buffer: FrameBuffer,
    ) -> Self {
        Self {
            looked: server.now(),
            server,
            send,
            receive,
            buffer,
            round: Round::default(),
            parked: Parked::default(),
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
                    self.release_kept().await;
                    self.write().await?;
                }
                Event::ReadEnd if self.half_frame => return Err(End::Reset(CloseCode::BadFrame)),
                Event::ReadEnd => return Ok(()),
                Event::Lost => return Err(End::Lost),
                Event::SlowFrame => {
                    self.write_parked().await?;
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
        // Every branch is cancel safe: quinn's reads and `kept` say so, timers are.
        tokio::select! {
            biased;
            (read, waited) = read(&mut self.receive, &mut self.pieces) => match read {
                Ok(Some(pieces)) => Event::Read { pieces, waited },
                Ok(None) => Event::ReadEnd,
                Err(_) => Event::Lost,
            },
            kept = kept => Event::Kept(kept),
            () = too_slow => Event::SlowFrame,
            () = stop => Event::Stop,
        }
    }

    /// Takes what was read, and what arrived since, up to a round's worth. Returns how long the
    /// first of it may have been held up.
    async fn take(&mut self, pieces: usize, waited: bool) -> u64 {
        let now = self.server.now();
        let held = if waited {
            std::time::Duration::ZERO
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
            admission: server.admission(),
            held_ms,
            in_flight: self.parked.in_flight(),
        };
        let next = self.round.decide(&mut self.buffer, &terms, &mut self.out);
        self.round.park(&mut self.parked, terms.admission);
        self.answer_round().await;
        self.release_kept().await;
        self.write().await?;
        if next == Next::Broken {
            self.write_parked().await?;
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
        if let Some(wait) = self.round.wait()
            && let Err(error) = self.server.service().kept(wait).await
        {
            self.out.truncate(start);
            self.round.encode(Outcome::Lost(&error), &mut self.out);
        }
        self.round.clear();
    }

    /// Encodes the first parked group's answers.
    fn release(&mut self, kept: &Result<(), WireError>) {
        let outcome = match kept {
            Ok(()) => Outcome::Kept,
            Err(error) => Outcome::Lost(error),
        };
        self.parked.release(outcome, &mut self.out);
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

    /// Waits for all that is parked and writes it.
    async fn write_parked(&mut self) -> Result<(), End> {
        while let Some(wait) = self.parked.first() {
            let kept = self.server.service().kept(wait).await;
            self.release(&kept);
            self.release_kept().await;
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

    /// Answers what is parked, says that nothing more comes, and waits until the client has it all.
    async fn finish(&mut self) -> End {
        if let Err(end) = self.write_parked().await {
            return end;
        }
        if self.send.finish().is_err() {
            return End::Lost;
        }
        // A client that hangs or is gone without a word must not hold a stop up for the whole drain.
        let limit = self.admission().bounds.slow_reader_timeout;
        match timeout(limit, self.send.stopped()).await {
            Ok(Ok(_)) => End::Finished,
            Ok(Err(_)) => End::Lost,
            Err(_elapsed) => End::Close(CloseCode::SlowReader),
        }
    }

    fn admission(&self) -> &Admission {
        self.server.admission()
    }
}

/// Writes all of `answers`; a client that does not take them in time loses its connection.
async fn write_all(
    send: &mut SendStream,
    answers: &[u8],
    admission: &Admission,
) -> Result<(), End> {
    let mut write = pin!(send.write_all(answers));
    let written = if let Some(written) = now_or_never(write.as_mut()).await {
        written
    } else {
        let _unread = admission
            .unread(answers.len())
            .ok_or(End::Close(CloseCode::SlowReader))?;
        timeout(admission.bounds.slow_reader_timeout, write)
            .await
            .map_err(|_elapsed| End::Close(CloseCode::SlowReader))?
    };
    written.map_err(|_gone| End::Lost)
}

/// Reads all pieces that are there, or waits for some; tells whether it waited.
async fn read(
    receive: &mut RecvStream,
    pieces: &mut [Bytes],
) -> (Result<Option<usize>, ReadError>, bool) {
    let mut waited = false;
    let mut reading = pin!(receive.read_chunks(pieces));
    let outcome = poll_fn(|cx| {
        let outcome = reading.as_mut().poll(cx);
        waited |= outcome.is_pending();
        outcome
    })
    .await;
    (outcome, waited)
}

/// The future's output if it is ready.
async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
