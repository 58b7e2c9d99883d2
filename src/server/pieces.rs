//! Reading and writing a stream in as few steps as can be.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream};
use tokio::time::timeout;

use super::admission::Admission;
use super::stream::End;
use crate::transport::CloseCode;

/// Writes all of `answers`; a client that does not take them in time loses its connection.
pub(super) async fn write_all(
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
pub(super) async fn read(
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
pub(super) async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
