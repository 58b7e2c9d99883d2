//! The connections over which requests are passed on: one to each owner from each worker, so that
//! an answer wakes no other thread than the one that waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;

use crate::client::peer::{PeerClient, PeerSetup};
use crate::client::peer_request::PeerRequest;
use crate::client::{CheckError, Greeting};
use crate::node::peers::{Own, requests_answer};
use crate::protocol::client::ResponseBody;
use crate::protocol::hello::ALPN_PEER;
use crate::transport::CertError;
use crate::transport::endpoint::client_config;
use crate::transport::tls::Credentials;
use crate::types::NodeId;

/// How a node `own` connects to others: what it asks is not passed on again.
///
/// # Errors
/// [`CertError`], if the credentials cannot be used.
pub(crate) fn peer_setup(credentials: &Credentials, own: &Own) -> Result<PeerSetup, CertError> {
    Ok(PeerSetup {
        config: client_config(credentials, ALPN_PEER)?,
        greeting: Greeting {
            hello: own.requests_hello().into(),
            answer: requests_answer,
        },
        from: own.from,
    })
}

/// The connections of all workers.
#[derive(Debug)]
pub(super) struct Peers {
    setup: PeerSetup,
    /// By the thread whose runtime runs it, and the node at the other end.
    clients: Mutex<HashMap<(ThreadId, NodeId), Peer>>,
}

#[derive(Debug)]
struct Peer {
    address: Arc<str>,
    client: Arc<PeerClient>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Too much waits for this owner; nothing was sent.
    #[error("too much waits for the owner")]
    Overloaded,
    /// Nobody knows where the owner is; nothing was sent.
    #[error("the owner's address is not known")]
    NoAddress,
    /// Nothing was sent.
    #[error("the owner was not asked")]
    NotSent(#[source] CheckError),
    /// The connection was lost with the request on its way: it may have been carried out.
    #[error("the connection was lost before the owner answered")]
    Lost,
    /// It may have been carried out.
    #[error("the owner did not answer")]
    Doubtful(#[source] CheckError),
}

impl From<CheckError> for Unanswered {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Overloaded => Self::Overloaded,
            CheckError::ConnectionLost => Self::Lost,
            // What was sent before its tasks ended is lost; this was not.
            error @ CheckError::Closed => Self::NotSent(error),
            error if error.maybe_counted() => Self::Doubtful(error),
            error => Self::NotSent(error),
        }
    }
}

impl Peers {
    pub(super) fn new(setup: PeerSetup) -> Self {
        Self {
            setup,
            clients: Mutex::default(),
        }
    }

    /// Asks the node at `address`. Must be awaited inside a tokio runtime that runs on one thread.
    pub(super) async fn ask(
        &self,
        (node, address): (NodeId, Arc<str>),
        request: PeerRequest,
        after: Duration,
    ) -> Result<ResponseBody, Unanswered> {
        // Held to the end: a node that leaves still answers what it was asked.
        let client = self.client(node, address);
        Ok(client.request(request, after)?.await?)
    }

    /// This thread's connection to the node.
    fn client(&self, node: NodeId, address: Arc<str>) -> Arc<PeerClient> {
        let key = (std::thread::current().id(), node);
        let mut clients = self.clients.lock();
        if let Some(peer) = clients.get(&key)
            && peer.address == address
            && !peer.client.is_closed()
        {
            return Arc::clone(&peer.client);
        }
        // Those of threads that have ended go too.
        clients.retain(|_, peer| !peer.client.is_closed());
        let client = Arc::new(PeerClient::new(&address, self.setup.clone()));
        let peer = Peer {
            address,
            client: Arc::clone(&client),
        };
        clients.insert(key, peer);
        client
    }

    /// Says that a node lives: who waits for it need not wait for the next attempt to connect.
    pub(super) fn hurry(&self, node: NodeId) {
        let clients = self.clients.lock();
        let of_node = clients.iter().filter(|((_, it), _)| *it == node);
        of_node.for_each(|(_, peer)| peer.client.hurry());
    }

    /// Closes this thread's connections, of which nobody asks anything any more.
    pub(super) fn leave(&self) {
        let me = std::thread::current().id();
        self.clients.lock().retain(|(thread, _), peer| {
            let stays = *thread != me;
            if !stays {
                peer.client.close();
            }
            stays
        });
    }

    /// Closes the connections to nodes that are not `wanted` any more.
    pub(super) fn retain(&self, wanted: impl Fn(NodeId) -> bool) {
        self.clients.lock().retain(|(_, node), _| wanted(*node));
    }
}
