//! Finds a node that answers: resolves the seeds, tries their addresses, says hello.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ClientConfig, Connection, RecvStream, SendStream};
use tokio::task::JoinSet;

use super::dial_error::{broken, more_telling};
use super::error::ConnectError;
use super::seed::Seed;
use crate::protocol::error::WireError;
use crate::protocol::frame::{self, FrameBuffer};
use crate::protocol::hello::{Hello, HelloAnswer, VERSIONS, Welcome};
use crate::transport::TransportError;
use crate::transport::endpoint::client_endpoint_from;

/// Longest wait for an address: three packets lost in a row on a slow path.
pub(super) const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long an address may keep the next one waiting; seeds are tried in their order unless they
/// are slow.
const HEAD_START: Duration = Duration::from_millis(200);

/// Most addresses tried in one attempt.
const ADDRESSES_MAX: usize = 32;

/// A connection on which both sides have said hello.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) address: SocketAddr,
    /// What the node said of itself and its cluster.
    pub(super) welcome: Welcome,
    /// The stream of the hello, which goes on as the first one for requests.
    pub(super) first: (SendStream, RecvStream),
    /// What was read on it behind the welcome.
    pub(super) read: FrameBuffer,
}

impl Session {
    /// Checks that the node takes in flight on each stream.
    pub(super) fn in_flight_max(&self) -> usize {
        usize::try_from(self.welcome.in_flight_max).unwrap_or(usize::MAX)
    }
}

/// The first words on a connection.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// What is said first: one frame.
    pub(crate) hello: Bytes,
    /// Reads the body of the frame that answers it; `None` if it is no answer.
    pub(crate) answer: fn(&[u8]) -> Option<HelloAnswer>,
}

impl Greeting {
    /// What clients and admins say.
    pub(crate) fn of_client() -> Self {
        let mut hello = Vec::new();
        let words = Hello {
            oldest: VERSIONS.0,
            newest: VERSIONS.1,
            agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        if let Err(error) = frame::encode(&words, &mut hello) {
            tracing::error!(%error, "the hello cannot be written; this is a bug");
        }
        Self {
            hello: hello.into(),
            answer: |body| frame::decode(body).ok(),
        }
    }
}

/// Makes connections to the first seed that answers.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) seeds: Vec<Seed>,
    pub(super) config: ClientConfig,
    pub(super) greeting: Greeting,
    /// The address that packets come from; any unless told.
    pub(super) from: Option<IpAddr>,
}

impl Dialer {
    /// Tries all addresses of all seeds once, then of `others`, each a little after the one before
    /// it.
    ///
    /// Cancel safe: what is under way is given up.
    pub(super) async fn connect(&self, others: Vec<Seed>) -> Result<Session, ConnectError> {
        let (addresses, mut worst) = self.addresses(&others).await;
        let mut addresses = addresses.into_iter();
        let mut attempts = JoinSet::new();
        loop {
            if let Some((address, host)) = addresses.next() {
                let (config, greeting) = (self.config.clone(), self.greeting.clone());
                let way = (self.from, address);
                attempts.spawn(async move { attempt(way, &host, config, &greeting).await });
            } else if attempts.is_empty() {
                return Err(worst.unwrap_or(ConnectError::NoSeeds));
            }
            let more = addresses.len() > 0;
            tokio::select! {
                Some(ended) = attempts.join_next() => match ended {
                    Ok(Ok(session)) => return Ok(session),
                    Ok(Err(error)) => worst = Some(more_telling(worst, error)),
                    // Only a bug or the runtime's end stops an attempt.
                    Err(error) => tracing::debug!(%error, "an attempt to connect was stopped"),
                },
                () = tokio::time::sleep(HEAD_START), if more => {}
            }
        }
    }

    async fn addresses(
        &self,
        others: &[Seed],
    ) -> (Vec<(SocketAddr, Arc<str>)>, Option<ConnectError>) {
        let (mut addresses, mut worst) = (Vec::new(), None);
        for seed in self.seeds.iter().chain(others) {
            if addresses.len() >= ADDRESSES_MAX {
                break;
            }
            match seed.resolve().await {
                Ok(found) => {
                    let found = found.map(|address| (address, seed.host()));
                    for address in found {
                        if !addresses.contains(&address) {
                            addresses.push(address);
                        }
                    }
                }
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        (addresses, worst)
    }
}

async fn attempt(
    (from, address): (Option<IpAddr>, SocketAddr),
    host: &str,
    config: ClientConfig,
    greeting: &Greeting,
) -> Result<Session, ConnectError> {
    let opened = open((from, address), host, config, greeting);
    match tokio::time::timeout(ADDRESS_WAIT_MAX, opened).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Silent {
            address,
            after: ADDRESS_WAIT_MAX,
        }),
    }
}

async fn open(
    (from, address): (Option<IpAddr>, SocketAddr),
    host: &str,
    config: ClientConfig,
    greeting: &Greeting,
) -> Result<Session, ConnectError> {
    let endpoint = client_endpoint_from(from, address).map_err(|error| match error {
        TransportError::Socket { source, .. } => ConnectError::Socket(source),
        other @ (TransportError::AddressInUse { .. } | TransportError::Cert(_)) => {
            ConnectError::Socket(std::io::Error::other(other))
        }
    })?;
    let connecting = endpoint
        .connect_with(config, address, host)
        .map_err(|error| ConnectError::BadSeed {
            seed: format!("{host} ({error})"),
        })?;
    let connection = connecting.await.map_err(|error| broken(address, error))?;
    say_hello(connection, address, greeting).await
}

async fn say_hello(
    connection: Connection,
    address: SocketAddr,
    greeting: &Greeting,
) -> Result<Session, ConnectError> {
    let (mut send, mut recv) = connection
        .open_bi()
        .await
        .map_err(|error| broken(address, error))?;
    // If the node has refused us already, reading says why.
    if let Err(error) = send.write_all(&greeting.hello).await {
        tracing::debug!(%error, %address, "the hello could not be sent");
    }
    let mut read = FrameBuffer::default();
    let answer = read_answer(&connection, &mut recv, &mut read, (address, greeting)).await?;
    let welcome = answer.map_err(|error| refusal(address, error))?;
    if !(VERSIONS.0..=VERSIONS.1).contains(&welcome.version) {
        return Err(ConnectError::VersionMismatch {
            address,
            node: (welcome.version, welcome.version),
            client: VERSIONS,
        });
    }
    Ok(Session {
        connection,
        address,
        welcome,
        first: (send, recv),
        read,
    })
}

async fn read_answer(
    connection: &Connection,
    recv: &mut RecvStream,
    read: &mut FrameBuffer,
    (address, greeting): (SocketAddr, &Greeting),
) -> Result<HelloAnswer, ConnectError> {
    let garbled = || ConnectError::Garbled { address };
    loop {
        if let Some(body) = read.take().map_err(|_| garbled())? {
            return (greeting.answer)(body).ok_or_else(garbled);
        }
        match recv.read_chunk(frame::FRAME_BYTES_MAX, true).await {
            Ok(Some(chunk)) => read.push(&chunk.bytes),
            Ok(None) => return Err(garbled()),
            Err(quinn::ReadError::ConnectionLost(error)) => return Err(broken(address, error)),
            Err(_) => {
                // The stream was reset; the connection may be about to say why.
                return Err(connection
                    .close_reason()
                    .map_or_else(garbled, |error| broken(address, error)));
            }
        }
    }
}

fn refusal(address: SocketAddr, error: WireError) -> ConnectError {
    match error {
        WireError::VersionMismatch { oldest, newest } => ConnectError::VersionMismatch {
            address,
            node: (oldest, newest),
            client: VERSIONS,
        },
        source => ConnectError::Refused { address, source },
    }
}
