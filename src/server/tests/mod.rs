//! A server in front of a toy, asked over real connections on loopback.

mod admin;
mod bad_input;
mod bounds;
mod deferred;
mod desk;
mod requests;
mod shutdown;
pub(super) mod toy;

use std::cell::Cell;
use std::sync::Arc;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::task::JoinHandle;

use self::toy::Toy;
use super::{Bounds, Server};
use crate::protocol::client::{Ask, PolicyRef, Request, RequestBody, Response, Target};
use crate::protocol::frame::{FrameBuffer, decode, encode};
use crate::protocol::hello::{ALPN_CLIENT, Hello, HelloAnswer};
use crate::transport::certs::Authority;
use crate::transport::endpoint::{ServerSetup, bind, client_config, client_endpoint};
use crate::transport::tls::{ClientAuth, Credentials};
use crate::transport::{CloseCode, Role};
use crate::types::MonoTime;

thread_local! {
    /// The server's time, which only the test moves.
    static NOW_MS: Cell<u64> = const { Cell::new(1_000_000) };
}

fn pass_ms(ms: u64) {
    NOW_MS.set(NOW_MS.get() + ms);
}

/// A node in front of a [`Toy`], and the authority that lets clients in.
struct Node {
    toy: Arc<Toy>,
    server: Arc<Server<Toy>>,
    authority: Authority,
    address: std::net::SocketAddr,
    running: Vec<JoinHandle<()>>,
}

impl Node {
    fn start(bounds: Bounds) -> Self {
        Self::start_on(bounds, 1)
    }

    fn start_on(bounds: Bounds, endpoints: usize) -> Self {
        let authority = Authority::create("test").unwrap();
        let issued = authority.issue(Role::Node, "n", &[]).unwrap();
        let credentials = Credentials::issued(&authority, &issued).unwrap();
        let setup = ServerSetup::new(&credentials, ClientAuth::Required).unwrap();
        let toy = Arc::new(Toy::default());
        let clock = || MonoTime::from_ns(NOW_MS.get() * 1_000_000);
        let server = Server::new(Arc::clone(&toy), bounds, clock);
        let sockets = bind("127.0.0.1:0".parse().unwrap(), endpoints).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let running = sockets
            .into_iter()
            .map(|socket| setup.endpoint(socket).unwrap())
            .map(|endpoint| tokio::spawn(Arc::clone(&server).run(endpoint)))
            .collect();
        Self {
            toy,
            server,
            authority,
            address,
            running,
        }
    }

    fn config(&self, role: Role, alpn: &[u8]) -> quinn::ClientConfig {
        let issued = self.authority.issue(role, "c", &[]).unwrap();
        client_config(
            &Credentials::issued(&self.authority, &issued).unwrap(),
            alpn,
        )
        .unwrap()
    }

    async fn try_connect(
        &self,
        config: quinn::ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let endpoint = client_endpoint(self.address).unwrap();
        let connecting = endpoint.connect_with(config, self.address, "localhost");
        connecting.unwrap().await
    }

    /// A connection that has said hello, and its first stream.
    async fn caller(&self) -> Caller {
        let config = self.config(Role::Client, ALPN_CLIENT);
        Caller::greet(self.try_connect(config).await.unwrap()).await
    }
}

/// One stream of a client.
struct Caller {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    buffer: FrameBuffer,
}

fn hello() -> Hello {
    Hello {
        oldest: 1,
        newest: 1,
        agent: "test".to_owned(),
    }
}

impl Caller {
    async fn open(connection: Connection) -> Self {
        let (send, receive) = connection.open_bi().await.unwrap();
        Self {
            connection,
            send,
            receive,
            buffer: FrameBuffer::default(),
        }
    }

    async fn greet(connection: Connection) -> Self {
        let mut caller = Self::open(connection).await;
        caller.say(&[hello()]).await;
        let answer: HelloAnswer = caller.hear().await.unwrap();
        assert_eq!(answer.unwrap().version, 1);
        caller
    }

    /// Sends messages in one write.
    async fn say(&mut self, messages: &[impl serde::Serialize]) {
        let mut bytes = Vec::new();
        for message in messages {
            encode(message, &mut bytes).unwrap();
        }
        self.send.write_all(&bytes).await.unwrap();
    }

    /// The next message, or the code with which the stream or connection ended.
    async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Option<CloseCode>> {
        loop {
            if let Some(frame) = self.buffer.take().unwrap() {
                return Ok(decode(frame).unwrap());
            }
            match self.receive.read_chunk(usize::MAX, true).await {
                Ok(Some(piece)) => self.buffer.push(&piece.bytes),
                Ok(None) => return Err(None),
                Err(quinn::ReadError::Reset(code)) => return Err(Some(known(code))),
                Err(quinn::ReadError::ConnectionLost(error)) => return Err(Some(code_of(&error))),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn answer(&mut self) -> Response {
        self.hear().await.unwrap()
    }

    /// Resolves when the node has received all that was said; nothing more can be.
    async fn finish(&mut self) {
        self.send.finish().unwrap();
        assert_eq!(self.send.stopped().await.unwrap(), None);
    }

    async fn closed(&self) -> CloseCode {
        code_of(&self.connection.closed().await)
    }
}

fn known(code: VarInt) -> CloseCode {
    CloseCode::from_number(code).unwrap()
}

fn code_of(error: &ConnectionError) -> CloseCode {
    match error {
        ConnectionError::ApplicationClosed(close) => known(close.error_code),
        other => panic!("not closed by the node: {other}"),
    }
}

fn ask(policy: &'static str, key: &'static str) -> Ask<'static> {
    Ask {
        target: Target {
            policy: PolicyRef::Named(policy),
            key,
        },
        cost: 1,
    }
}

fn request(id: u64, body: RequestBody<'static>) -> Request<'static> {
    Request {
        id,
        deadline_ms: 60_000,
        body,
    }
}

/// A request with one check for each policy, of the key "k".
fn check(id: u64, policies: &[&'static str]) -> Request<'static> {
    let asks = policies.iter().map(|policy| ask(policy, "k")).collect();
    request(id, RequestBody::Check(asks))
}
