//! Connects to another node: resolves its address, shakes hands, says hello, and makes sure of who
//! answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

use super::admission::{Admission, Known};
use crate::membership::identity::{Address, Identity};
use crate::protocol::frame::{FRAME_BYTES_MAX, FrameBuffer, decode, encode};
use crate::protocol::hello::VERSIONS;
use crate::protocol::peer::{PeerAnswer, PeerHello, PeerRefusal, PeerWelcome, Purpose};
use crate::transport::endpoint::{client_endpoint_from, peer_config};
use crate::transport::tls::{Credentials, certificate_name};
use crate::transport::{CertError, CloseCode, TransportError};
use crate::types::NodeId;

/// Longest wait for one socket address: three packets lost in a row on a slow path.
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(3);

/// Longest wait for a name to be resolved.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(3);

/// Most socket addresses of a name that are tried.
const ADDRESSES_MAX: usize = 32;

/// Why a node was not reached. Nothing was sent to it but a hello.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address now.
    #[error(
        "cannot resolve `{address}`; correct the node's advertised address or the name service"
    )]
    Resolve {
        /// The node's address.
        address: Address,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("`{address}` does not answer")]
    Silent {
        /// The node's address.
        address: Address,
    },
    /// No socket.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The address cannot be connected to.
    #[error("cannot connect to `{address}`")]
    Connect {
        /// The node's address.
        address: Address,
        /// Why.
        #[source]
        source: quinn::ConnectError,
    },
    /// The connection failed, or was lost before the other node had answered: it has other
    /// certificates, or closed.
    #[error("the connection to `{address}` failed")]
    Broken {
        /// The node's address.
        address: Address,
        /// Why.
        #[source]
        source: quinn::ConnectionError,
    },
    /// What answers is no node of ours.
    #[error("what answers at `{address}` does not speak this protocol")]
    Garbled {
        /// The node's address.
        address: Address,
    },
    /// The other node does not let this one in.
    #[error("`{address}` refuses this node")]
    Refused {
        /// The node's address.
        address: Address,
        /// Why, and what to do here.
        #[source]
        refusal: PeerRefusal,
    },
    /// The other node is not what it says, or of another cluster; it was not believed.
    #[error("the node at `{address}` is not accepted")]
    NotAccepted {
        /// The node's address.
        address: Address,
        /// Why, and what to do there.
        #[source]
        refusal: PeerRefusal,
    },
    /// Another node lives there now.
    #[error("at `{address}` lives node {found} now")]
    OtherNode {
        /// The address.
        address: Address,
        /// Which node.
        found: NodeId,
    },
}

/// A connection on which both sides have said hello.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) connection: Connection,
    /// The stream of the hello.
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    /// What came behind the welcome.
    pub(super) buffer: FrameBuffer,
    pub(super) welcome: PeerWelcome,
}

/// The same, with a node that was recognised.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) greeted: Greeted,
    pub(super) known: Known,
}

/// Dials without a cluster: who answers is any node of the authority.
#[derive(Debug)]
pub(super) struct Caller {
    config: ClientConfig,
    /// The address that packets come from; any unless told.
    from: Option<IpAddr>,
    /// One for each address family, made when needed.
    endpoints: Mutex<[Option<Endpoint>; 2]>,
}

impl Caller {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, CertError> {
        Ok(Self {
            config: peer_config(credentials)?,
            from: None,
            endpoints: Mutex::default(),
        })
    }

    /// The same, from this address.
    pub(super) fn from(mut self, from: Option<IpAddr>) -> Self {
        self.from = from;
        self
    }

    fn endpoint(&self, to: SocketAddr) -> Result<Endpoint, TransportError> {
        let mut endpoints = self.endpoints.lock();
        let [v4, v6] = &mut *endpoints;
        let place = if to.is_ipv6() { v6 } else { v4 };
        match place {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(place.insert(client_endpoint_from(self.from, to)?).clone()),
        }
    }

    /// Calls the node at one socket address of `address`.
    pub(super) async fn call(
        &self,
        address: &Address,
        to: SocketAddr,
        hello: &PeerHello,
    ) -> Result<Greeted, DialError> {
        let called = timeout(ADDRESS_WAIT_MAX, self.greet(address, to, hello)).await;
        called.unwrap_or_else(|_late| {
            Err(DialError::Silent {
                address: address.clone(),
            })
        })
    }

    async fn greet(
        &self,
        address: &Address,
        to: SocketAddr,
        hello: &PeerHello,
    ) -> Result<Greeted, DialError> {
        let broken = |source| DialError::Broken {
            address: address.clone(),
            source,
        };
        let garbled = || DialError::Garbled {
            address: address.clone(),
        };
        let (host, _) = address.host_and_port();
        let endpoint = self.endpoint(to)?;
        let connecting = endpoint.connect_with(self.config.clone(), to, host);
        let connecting = connecting.map_err(|source| DialError::Connect {
            address: address.clone(),
            source,
        })?;
        let connection = connecting.await.map_err(broken)?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(broken)?;
        let mut frame = Vec::new();
        encode(hello, &mut frame).map_err(|_too_long| garbled())?;
        // If the node has refused us already, reading says why.
        if let Err(error) = send.write_all(&frame).await {
            tracing::debug!(%error, %address, "the hello could not be sent");
        }
        let mut buffer = FrameBuffer::default();
        let answer = read_answer(&mut receive, &mut buffer).await;
        let answer =
            answer.ok_or_else(|| connection.close_reason().map_or_else(garbled, broken))?;
        let welcome = answer.map_err(|refusal| DialError::Refused {
            address: address.clone(),
            refusal,
        })?;
        if !(VERSIONS.0..=VERSIONS.1).contains(&welcome.version) {
            return Err(garbled());
        }
        Ok(Greeted {
            connection,
            send,
            receive,
            buffer,
            welcome,
        })
    }
}

async fn read_answer(receive: &mut RecvStream, buffer: &mut FrameBuffer) -> Option<PeerAnswer> {
    loop {
        if let Some(body) = buffer.take().ok()? {
            return decode(body).ok();
        }
        let piece = receive.read_chunk(FRAME_BYTES_MAX, true).await.ok()??;
        buffer.push(&piece.bytes);
    }
}

/// All socket addresses of an address now.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, DialError> {
    let found = tokio::net::lookup_host(address.host_and_port());
    let found = timeout(RESOLVE_WAIT_MAX, found).await;
    match found.unwrap_or_else(|late| Err(late.into())) {
        Ok(found) => Ok(found.take(ADDRESSES_MAX).collect()),
        Err(source) => Err(DialError::Resolve {
            address: address.clone(),
            source,
        }),
    }
}

/// Dials nodes of the cluster.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) admission: Arc<Admission>,
    pub(super) caller: Caller,
}

impl Dialer {
    /// Connects to `node`, trying all socket addresses of `address` until one is its.
    pub(super) async fn dial(
        &self,
        node: NodeId,
        address: &Address,
        purpose: Purpose,
    ) -> Result<Reached, DialError> {
        let mut told = DialError::Silent {
            address: address.clone(),
        };
        for to in resolve(address).await? {
            match self.dial_one(address, to, purpose).await {
                Ok(reached) if reached.known.identity.node == node => return Ok(reached),
                Ok(other) => {
                    let found = other.known.identity.node;
                    close(&other.greeted.connection, CloseCode::Done);
                    told = DialError::OtherNode {
                        address: address.clone(),
                        found,
                    };
                }
                Err(error) => told = more_telling(told, error),
            }
        }
        Err(told)
    }

    /// Connects to whatever node of the cluster is at one socket address.
    pub(super) async fn dial_one(
        &self,
        address: &Address,
        to: SocketAddr,
        purpose: Purpose,
    ) -> Result<Reached, DialError> {
        let hello = self.admission.own.hello(purpose);
        let greeted = self.caller.call(address, to, &hello).await?;
        let certificate = certificate_name(&greeted.connection);
        match self.admission.recognise(&greeted.welcome, certificate) {
            Ok(known) => Ok(Reached { greeted, known }),
            Err(refusal) => {
                self.admission.refused(&to, &refusal);
                close(&greeted.connection, CloseCode::NotAdmitted);
                Err(DialError::NotAccepted {
                    address: address.clone(),
                    refusal,
                })
            }
        }
    }

    /// Which node is at one socket address; `None` if it is this one.
    pub(super) async fn introduce(
        &self,
        address: &Address,
        to: SocketAddr,
    ) -> Result<Option<Identity>, DialError> {
        match self.dial_one(address, to, Purpose::Join).await {
            Ok(reached) => {
                close(&reached.greeted.connection, CloseCode::Done);
                Ok(Some(reached.known.identity))
            }
            Err(DialError::Refused {
                refusal: PeerRefusal::SameNode { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn close(connection: &Connection, code: CloseCode) {
    connection.close(code.number(), code.as_str().as_bytes());
}

/// Of two reasons the one that says more about what to do: what a node said, before that none did.
pub(super) fn more_telling(told: DialError, error: DialError) -> DialError {
    let answered = |error: &DialError| {
        matches!(
            error,
            DialError::Refused { .. } | DialError::NotAccepted { .. } | DialError::OtherNode { .. }
        )
    };
    if answered(&told) && !answered(&error) {
        told
    } else {
        error
    }
}
