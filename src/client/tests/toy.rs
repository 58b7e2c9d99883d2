//! A node that says what the test tells it to: real QUIC, scripted words.

use std::sync::Arc;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde::Serialize;

use crate::client::{Builder, Client};
use crate::protocol::client::{
    Ask, Request, RequestBody, Response, ResponseBody, WireDecision, WireSource,
};
use crate::protocol::error::WireError;
use crate::protocol::frame::{self, FrameBuffer};
use crate::protocol::hello::{HelloAnswer, REPLICA_ROUTES_SINCE, Welcome};
use crate::protocol::routes::{ReplicaRoutes, RouteNode, Routes};
use crate::routing::KeyHasher;
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::endpoint::{ServerSetup, bind};
use crate::transport::tls::{ClientAuth, Credentials};
use crate::types::{SLOT_COUNT, Slot};

pub(super) struct Toy {
    /// Its id; all are in cluster 1.
    pub(super) node: u128,
    pub(super) endpoint: Endpoint,
    pub(super) authority: Arc<Authority>,
}

/// A client's connection and its first stream.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connection: Connection,
    send: SendStream,
    recv: RecvStream,
    frames: FrameBuffer,
}

/// A request's frame as it came.
pub(super) struct Frame(Vec<u8>);

impl Toy {
    pub(super) fn start() -> Self {
        Self::with_client_auth(ClientAuth::Required)
    }

    pub(super) fn with_client_auth(client_auth: ClientAuth) -> Self {
        Self::of(1, Arc::new(Authority::create("test").unwrap()), client_auth)
    }

    /// Another node of the same cluster.
    pub(super) fn sibling(&self) -> Self {
        let node = self.node + 1;
        Self::of(node, Arc::clone(&self.authority), ClientAuth::Required)
    }

    pub(super) fn of(id: u128, authority: Arc<Authority>, client_auth: ClientAuth) -> Self {
        let node = credentials(&authority, Role::Node);
        let setup = ServerSetup::new(&node, client_auth).unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        Self {
            node: id,
            endpoint: setup.endpoint(socket).unwrap(),
            authority,
        }
    }

    /// A client of one connection that may connect here.
    pub(super) fn client(&self) -> Builder {
        Client::builder()
            .seeds([self.endpoint.local_addr().unwrap()])
            .tls(credentials(&self.authority, Role::Client))
            .connections(1)
            .deadline(std::time::Duration::from_secs(60))
    }

    pub(super) async fn accept(&self) -> Connection {
        self.endpoint.accept().await.unwrap().await.unwrap()
    }

    /// Turns the next client away before its handshake.
    pub(super) async fn refuse(&self) {
        self.endpoint.accept().await.unwrap().refuse();
    }

    pub(super) async fn greet(&self) -> Peer {
        let node = self.node;
        self.greet_with(Ok(Welcome { node, ..welcome() })).await
    }

    /// The same, of a node that can tell replicas.
    pub(super) async fn greet_newer(&self) -> Peer {
        let (version, node) = (REPLICA_ROUTES_SINCE, self.node);
        let welcome = Welcome {
            version,
            node,
            ..welcome()
        };
        self.greet_with(Ok(welcome)).await
    }

    pub(super) fn address(&self) -> String {
        self.endpoint.local_addr().unwrap().to_string()
    }

    pub(super) async fn greet_with(&self, answer: HelloAnswer) -> Peer {
        let connection = self.accept().await;
        let stream = connection.accept_bi().await.unwrap();
        let mut peer = Peer::of(connection, stream);
        peer.next().await.unwrap();
        peer.say(&answer).await;
        peer
    }

    /// A client that is connected, and this end of its connection.
    pub(super) async fn connected(&self, builder: Builder) -> (Client, Peer) {
        let (client, peer) = tokio::join!(builder.connect(), self.greet());
        (client.unwrap(), peer)
    }
}

impl Peer {
    pub(super) fn of(connection: Connection, (send, recv): (SendStream, RecvStream)) -> Self {
        Self {
            connection,
            send,
            recv,
            frames: FrameBuffer::default(),
        }
    }

    /// The stream on which the client asks for routes, with its first request.
    pub(super) async fn watch(&self) -> Watch {
        let stream = self.connection.accept_bi().await.unwrap();
        let mut watch = Watch(Self::of(self.connection.clone(), stream));
        watch.asked().await;
        watch
    }

    /// The next frame, or `None` once the connection is gone.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(body) = self.frames.take().unwrap() {
                return Some(Frame(body.to_vec()));
            }
            let chunk = self.recv.read_chunk(1 << 20, true).await.ok()??;
            self.frames.push(&chunk.bytes);
        }
    }

    /// The next frame, which must be there.
    pub(super) async fn frame(&mut self) -> Frame {
        self.next().await.expect("the client is connected")
    }

    pub(super) async fn say(&mut self, message: &impl Serialize) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        self.say_bytes(&bytes).await;
    }

    pub(super) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    pub(super) async fn answer(&mut self, id: u64, body: ResponseBody) {
        self.say(&Response { id, body }).await;
    }

    /// Answers every check of `frame` with what `decide` says.
    pub(super) async fn decide(
        &mut self,
        frame: &Frame,
        decide: impl FnMut(&Ask<'_>) -> Result<WireDecision, WireError>,
    ) {
        let answers = frame.asks().iter().map(decide).collect();
        self.answer(frame.request().id, ResponseBody::Decisions(answers))
            .await;
    }

    /// Grants everything until the client is gone; says how many frames and checks came.
    pub(super) async fn grant_all(mut self) -> (usize, usize) {
        let (mut frames, mut checks) = (0, 0);
        while let Some(frame) = self.next().await {
            frames += 1;
            checks += frame.asks().len();
            self.decide(&frame, |ask| Ok(granted(ask.cost))).await;
        }
        (frames, checks)
    }

    /// Answers every check with what `decide` says until the client is gone.
    pub(super) async fn decide_all(
        mut self,
        mut decide: impl FnMut(&Ask<'_>) -> Result<WireDecision, WireError>,
    ) {
        while let Some(frame) = self.next().await {
            self.decide(&frame, &mut decide).await;
        }
    }

    pub(super) fn close(&self) {
        self.connection.close(0_u32.into(), b"");
    }
}

/// A stream on which routes are asked for.
pub(super) struct Watch(Peer);

impl Watch {
    /// Waits for the next request: its id and the routes that the client has.
    pub(super) async fn asked(&mut self) -> (u64, u64) {
        let frame = self.0.frame().await;
        let request = frame.request();
        match request.body {
            RequestBody::Routes { known } | RequestBody::ReplicaRoutes { known } => {
                (request.id, known)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Answers the request that is open, the `n`th, by a node that can tell replicas.
    pub(super) async fn tell_replicas(&mut self, n: u64, routes: &ReplicaRoutes) {
        let body = ResponseBody::ReplicaRoutes(Box::new(routes.clone()));
        self.0.answer(n, body).await;
        assert_eq!(self.asked().await, (n + 1, routes.tag));
    }

    /// Answers the request that is open, the `n`th, and waits for the next.
    pub(super) async fn tell(&mut self, n: u64, routes: &Routes) {
        self.0
            .answer(n, ResponseBody::Routes(Box::new(routes.clone())))
            .await;
        assert_eq!(self.asked().await, (n + 1, routes.tag));
    }

    pub(super) async fn refuse(&mut self, n: u64) {
        let reason = "no such request".to_owned();
        let error = WireError::Malformed { reason };
        self.0.answer(n, ResponseBody::Failed(error)).await;
    }
}

/// Routes by which the slots are shared evenly, in runs, by these nodes.
pub(super) fn routes(tag: u64, owners: &[&Toy]) -> Routes {
    let share = SLOT_COUNT / u16::try_from(owners.len()).unwrap();
    let nodes = owners.iter().map(|toy| RouteNode {
        node: toy.node,
        address: toy.address(),
    });
    Routes {
        tag,
        policies: 1,
        nodes: nodes.collect(),
        runs: (0..).take(owners.len()).map(|n| (share, n)).collect(),
    }
}

/// The slot of a key under the secret of [`welcome`].
pub(super) fn slot_of(key: &str) -> Slot {
    KeyHasher::new(&[0; 16]).key(key).state_id(0).slot()
}

/// The first key after the `n`th whose slot is one of these.
pub(super) fn key_in(n: u32, slots: std::ops::Range<u16>) -> String {
    let mut keys = (n..).map(|n| format!("key-{n}"));
    keys.find(|key| slots.contains(&slot_of(key).number()))
        .unwrap()
}

impl Frame {
    pub(super) fn request(&self) -> Request<'_> {
        frame::decode(&self.0).unwrap()
    }

    /// The checks or peeks in it.
    pub(super) fn asks(&self) -> Vec<Ask<'_>> {
        match self.request().body {
            RequestBody::Check(asks) | RequestBody::Peek(asks) => asks,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn keys(&self) -> Vec<&str> {
        self.asks().iter().map(|ask| ask.target.key).collect()
    }
}

pub(super) fn credentials(authority: &Authority, role: Role) -> Credentials {
    let issued = authority.issue(role, "someone", &[]).unwrap();
    Credentials::issued(authority, &issued).unwrap()
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: 1,
        cluster: 1,
        slot_count: 4096,
        key_secret: [0; 16],
        in_flight_max: 8192,
    }
}

/// A denial that holds for a minute.
pub(super) fn denied() -> WireDecision {
    WireDecision {
        allowed: false,
        retry_after_ms: 60_000,
        granted_at_ms: None,
        ..granted(0)
    }
}

/// A grant that says `remaining`, so that tests can tell answers apart.
pub(super) fn granted(remaining: u64) -> WireDecision {
    WireDecision {
        allowed: true,
        shadow_denied: false,
        limit: 100,
        remaining,
        reset_after_ms: 7,
        retry_after_ms: 0,
        source: WireSource::Owner,
        granted_at_ms: Some(5),
    }
}
