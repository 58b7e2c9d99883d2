//! The ends of links, the connections that carry commits from an owner to a replica: dialled by the
//! owner, let in and recognised like all others. What is said on them is left to who uses them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};

use super::admission::Admission;
use super::counts::{Refused, add};
use super::dial::{DialError, Dialer, close};
use super::door::Incoming;
use crate::membership::identity::Identity;
use crate::protocol::frame::FrameBuffer;
use crate::protocol::peer::Purpose;
use crate::transport::CloseCode;
use crate::transport::endpoint::widen_for_peer;

/// A link under way; resolves to the code to close the connection with, unless it is gone already.
/// Dropped when the node stops.
pub(crate) type Passage<'a> = Pin<Box<dyn Future<Output = Option<CloseCode>> + Send + 'a>>;

/// Takes the links that other nodes dial.
pub(crate) trait LinkDoor: fmt::Debug + Send + Sync + 'static {
    /// Takes a link to its end. Runs on the worker that has accepted the connection.
    fn carry(&self, link: VisitingLink) -> Passage<'_>;
}

/// A link that another node has dialled, and that brings its commits.
#[derive(Debug)]
pub(crate) struct VisitingLink {
    /// Tells it from all other connections of this process.
    pub(crate) number: u64,
    /// The owner, in the life that has dialled.
    pub(crate) peer: Identity,
    pub(crate) connection: Connection,
    /// Takes what is acknowledged.
    pub(crate) send: SendStream,
    /// Brings commits.
    pub(crate) stream: RecvStream,
    /// What came of them already.
    pub(crate) buffer: FrameBuffer,
}

impl VisitingLink {
    pub(super) fn new(
        connection: &Connection,
        (number, peer): (u64, Identity),
        send: SendStream,
        incoming: Incoming,
    ) -> Self {
        widen_for_peer(connection);
        Self {
            number,
            peer,
            connection: connection.clone(),
            send,
            stream: incoming.stream,
            buffer: incoming.buffer,
        }
    }
}

/// A link that this node has dialled.
#[derive(Debug)]
pub(crate) struct DialledLink {
    /// Tells it from all other connections of this process.
    pub(crate) number: u64,
    pub(crate) connection: Connection,
    /// Takes commits.
    pub(crate) send: SendStream,
    /// Brings what is acknowledged.
    pub(crate) stream: RecvStream,
    /// What came of that already.
    pub(crate) buffer: FrameBuffer,
}

impl DialledLink {
    /// Ends it.
    pub(crate) fn close(&self, code: CloseCode) {
        close(&self.connection, code);
    }
}

impl Drop for DialledLink {
    /// Who has it no more has another one, or needs none: after a close of its own, this is none.
    fn drop(&mut self) {
        self.close(CloseCode::Renewed);
    }
}

/// Dials links to nodes of the cluster. Its sockets belong to the runtime that it is used on first.
#[derive(Debug)]
pub(crate) struct LinkDialer {
    dialer: Dialer,
}

impl LinkDialer {
    pub(super) const fn new(dialer: Dialer) -> Self {
        Self { dialer }
    }

    /// Dials a node where it says that it is, in just this life of it.
    ///
    /// # Errors
    /// [`DialError`]; no commit was sent.
    pub(crate) async fn dial(&self, peer: &Identity) -> Result<DialledLink, DialError> {
        let (node, address) = (peer.node, &peer.address);
        let reached = self.dialer.dial(node, address, Purpose::Replicate).await?;
        let (greeted, found) = (reached.greeted, reached.known.identity);
        if found.boot != peer.boot {
            close(&greeted.connection, CloseCode::Renewed);
            return Err(DialError::OtherNode {
                address: address.clone(),
                found: found.node,
            });
        }
        Ok(DialledLink {
            number: self.dialer.admission.number(),
            connection: greeted.connection,
            send: greeted.send,
            stream: greeted.receive,
            buffer: greeted.buffer,
        })
    }

    /// Counts what goes wrong on links.
    pub(crate) fn misconduct(&self) -> Misconduct {
        Misconduct(Arc::clone(&self.dialer.admission))
    }
}

/// Counts and logs, at a bounded rate, what peers do on links that no honest node does.
#[derive(Clone)]
pub(crate) struct Misconduct(Arc<Admission>);

impl Misconduct {
    /// Bytes came that are no frame, or one that cannot be.
    pub(crate) fn malformed(&self, peer: &Identity, reason: &str) {
        let counters = &self.0.counters;
        counters.refused(Refused::Malformed, &peer.address, reason);
    }

    /// A peer does not read what it is sent.
    pub(crate) fn slow(&self, peer: &Identity) {
        add(&self.0.counters.queues_full);
        tracing::warn!(
            peer = %peer.node,
            "a replica does not take commits as fast as they come; it is linked anew"
        );
    }
}

impl fmt::Debug for Misconduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Misconduct").finish_non_exhaustive()
    }
}
