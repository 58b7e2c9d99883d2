//! Bulk streams: one request and the chunks that answer it, apart from all else that nodes say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use super::dial::{DialError, Dialer, close};
use crate::membership::identity::Address;
use crate::protocol::bulk::{BULK_FRAME_BYTES_MAX, BulkChunk, BulkRequest};
use crate::protocol::frame::{FrameBuffer, FrameError, decode, encode_within};
use crate::protocol::peer::Purpose;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// Longest time without a byte on a stream from which chunks are awaited, or without a byte taken
/// on one that they are sent on. The sender may be reading a disk or be held back by its bound on
/// bytes a second.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Bytes that one read takes at most.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Why a transfer ended early. What came of it counts for nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    /// Nobody knows where the node is.
    #[error("node {node} has no known address")]
    Unknown {
        /// Which.
        node: NodeId,
    },
    /// The node was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection was lost or the stream was reset.
    #[error("the transfer was cut off")]
    CutOff,
    /// Nothing moved for a while.
    #[error("the transfer stood still")]
    Stalled,
    /// Bytes that are no chunk.
    #[error("the transfer cannot be read")]
    Frame(#[from] FrameError),
}

/// Sends the chunks that answer a request. Dropped without [`BulkSender::finish`], it cuts the
/// transfer off, and the other side takes nothing of it.
#[derive(Debug)]
pub(crate) struct BulkSender {
    stream: SendStream,
    frame: Vec<u8>,
    sent_bytes: u64,
    finished: bool,
}

impl BulkSender {
    pub(super) const fn new(stream: SendStream) -> Self {
        Self {
            stream,
            frame: Vec::new(),
            sent_bytes: 0,
            finished: false,
        }
    }

    /// Sends one chunk; waits until the connection has taken it.
    ///
    /// Not cancel safe: dropped while it runs, the stream is of no more use.
    ///
    /// # Errors
    /// [`BulkError`]; the transfer is over.
    pub(crate) async fn send(&mut self, chunk: &BulkChunk<'_>) -> Result<(), BulkError> {
        self.frame.clear();
        encode_within(BULK_FRAME_BYTES_MAX, chunk, &mut self.frame)?;
        let mut rest = self.frame.as_slice();
        while !rest.is_empty() {
            let written = timeout(STALL_MAX, self.stream.write(rest)).await;
            let written = written.map_err(|_late| BulkError::Stalled)?;
            let written = written.map_err(|_gone| BulkError::CutOff)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        let bytes = u64::try_from(self.frame.len()).unwrap_or(u64::MAX);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
        Ok(())
    }

    /// Sends the last chunk ([`BulkChunk::End`] or [`BulkChunk::Refused`]) and ends the stream.
    ///
    /// # Errors
    /// [`BulkError`].
    pub(crate) async fn finish(mut self, last: &BulkChunk<'_>) -> Result<(), BulkError> {
        self.send(last).await?;
        self.finished = true;
        self.stream.finish().map_err(|_closed| BulkError::CutOff)
    }

    /// Bytes sent so far.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }
}

impl Drop for BulkSender {
    fn drop(&mut self) {
        // By itself, a stream that is dropped ends as if it were whole.
        if !self.finished {
            // Fails only if it is gone, which is as good.
            drop(self.stream.reset(CloseCode::Interrupted.number()));
        }
    }
}

/// A connection on which one thing after the other can be asked for. Closed when dropped.
#[derive(Debug)]
pub(crate) struct BulkLine(Connection);

impl BulkLine {
    /// Asks for something.
    ///
    /// # Errors
    /// [`BulkError`]; nothing was transferred.
    async fn ask(self, request: &BulkRequest) -> Result<BulkReader, BulkError> {
        let opened = self.0.open_bi().await;
        let (mut send, stream) = opened.map_err(|_gone| BulkError::CutOff)?;
        let mut frame = Vec::new();
        encode_within(BULK_FRAME_BYTES_MAX, request, &mut frame)?;
        let written = timeout(STALL_MAX, send.write_all(&frame)).await;
        let written = written.map_err(|_late| BulkError::Stalled)?;
        written.map_err(|_gone| BulkError::CutOff)?;
        send.finish().map_err(|_closed| BulkError::CutOff)?;
        Ok(BulkReader {
            line: self,
            stream,
            buffer: FrameBuffer::with_max(BULK_FRAME_BYTES_MAX),
            received_bytes: 0,
        })
    }
}

impl Drop for BulkLine {
    fn drop(&mut self) {
        close(&self.0, CloseCode::Done);
    }
}

/// Reads the chunks that answer a request. Closes its connection when dropped.
#[derive(Debug)]
pub(crate) struct BulkReader {
    line: BulkLine,
    stream: RecvStream,
    buffer: FrameBuffer,
    received_bytes: u64,
}

impl BulkReader {
    /// The next chunk; `None` where the stream ends, which is only whole after [`BulkChunk::End`],
    /// [`BulkChunk::Refused`] or [`BulkChunk::Policies`].
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`BulkError`]; the transfer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<BulkChunk<'_>>, BulkError> {
        while self.buffer.frames().next().transpose()?.is_none() {
            let piece = timeout(STALL_MAX, self.stream.read_chunk(READ_BYTES_MAX, true)).await;
            let piece = piece.map_err(|_late| BulkError::Stalled)?;
            match piece.map_err(|_gone| BulkError::CutOff)? {
                Some(piece) => {
                    let bytes = u64::try_from(piece.bytes.len()).unwrap_or(u64::MAX);
                    self.received_bytes = self.received_bytes.saturating_add(bytes);
                    self.buffer.push(&piece.bytes);
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(BulkError::CutOff),
            }
        }
        match self.buffer.take()? {
            Some(body) => Ok(Some(decode(body)?)),
            None => Err(BulkError::CutOff),
        }
    }

    /// Bytes received so far.
    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The connection, for the next request, once all that was asked for has come.
    pub(crate) fn into_line(self) -> BulkLine {
        self.line
    }
}

/// Opens bulk streams to other nodes, apart from the connections for all else, so that no transfer
/// holds up anything. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    pub(super) dialer: Arc<Dialer>,
    pub(super) addresses: Arc<RwLock<BTreeMap<NodeId, Address>>>,
}

impl Fetcher {
    /// Asks a node that [`super::PeerNet`] knows. Must be awaited on the runtime of the `PeerNet`.
    ///
    /// # Errors
    /// [`BulkError`]; nothing was transferred.
    pub(crate) async fn fetch(
        &self,
        from: NodeId,
        request: &BulkRequest,
    ) -> Result<BulkReader, BulkError> {
        let address = self.addresses.read().get(&from).cloned();
        let address = address.ok_or(BulkError::Unknown { node: from })?;
        let reached = self.dialer.dial(from, &address, Purpose::Bulk).await?;
        BulkLine(reached.greeted.connection).ask(request).await
    }

    /// The same on a connection that is there, if it still works: without a handshake, which may
    /// take longer than all the rest while slots are sealed.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    pub(crate) async fn fetch_on(
        &self,
        line: Option<BulkLine>,
        from: NodeId,
        request: &BulkRequest,
    ) -> Result<BulkReader, BulkError> {
        if let Some(line) = line
            && let Ok(reader) = line.ask(request).await
        {
            return Ok(reader);
        }
        self.fetch(from, request).await
    }

    /// Sends bytes where a request should be, and waits until the connection is closed.
    #[cfg(test)]
    pub(crate) async fn garble(&self, to: NodeId, bytes: &[u8]) -> Result<(), BulkError> {
        let address = self.addresses.read().get(&to).cloned();
        let address = address.ok_or(BulkError::Unknown { node: to })?;
        let reached = self.dialer.dial(to, &address, Purpose::Bulk).await?;
        let connection = reached.greeted.connection;
        let (mut send, _receive) = connection.open_bi().await.map_err(|_| BulkError::CutOff)?;
        send.write_all(bytes).await.map_err(|_| BulkError::CutOff)?;
        connection.closed().await;
        Ok(())
    }
}
