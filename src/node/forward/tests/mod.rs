//! Several nodes with toys for limiters, and real connections between them.

mod checks;
mod commands;
mod losing;
mod reading;
mod sealed;
mod toy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::task::JoinHandle;

use self::toy::Toy;
use super::{Clustered, Forwarder, Waits};
use crate::client::Greeting;
use crate::client::peer::PeerSetup;
use crate::node::clock;
use crate::protocol::client::{Ask, PolicyRef, Target, WireDecision, WireSource};
use crate::protocol::error::WireError;
use crate::protocol::frame::{FrameBuffer, decode, encode};
use crate::protocol::hello::{ALPN_CLIENT, Hello, HelloAnswer};
use crate::server::{Bounds, Decided, Mode, Postponed, Server, Service, Via, serve_requests};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::endpoint::{ServerSetup, bind, client_config};
use crate::transport::tls::{ClientAuth, Credentials};
use crate::types::{Configuration, Epoch, NodeId, Replicas, Slot, SlotRecord};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

/// A node: its client port, and its port for peers.
struct Node {
    toy: Arc<Toy>,
    forwarder: Arc<Forwarder>,
    clustered: Arc<Clustered<Toy>>,
    clients: SocketAddr,
    peers: SocketAddr,
    running: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

/// The nodes 1, 2, ...; none serves any slot yet, and none knows of an owner.
struct Cluster {
    authority: Authority,
    nodes: Vec<Node>,
}

fn credentials(authority: &Authority, role: Role) -> Credentials {
    let issued = authority.issue(role, "someone", &[]).unwrap();
    Credentials::issued(authority, &issued).unwrap()
}

impl Cluster {
    fn start(count: u128, waits: Waits) -> Self {
        let authority = Authority::create("test").unwrap();
        let node = |id| Node::start(NodeId(id), &authority, waits);
        let nodes: Vec<Node> = (1..=count).map(node).collect();
        let addresses: Vec<_> = (1..)
            .map(NodeId)
            .zip(nodes.iter().map(|node| node.peers.to_string()))
            .collect();
        for node in &nodes {
            node.forwarder.set_nodes(&addresses);
        }
        Self { authority, nodes }
    }

    /// A cluster in which node 1 owns slots 10 to 19, node 2 those from 20 on, and so forth.
    fn with_owners(count: u16, waits: Waits) -> Self {
        let cluster = Self::start(count.into(), waits);
        for slot in 10..10 * (count + 1) {
            let owner = u128::from(slot / 10);
            for node in &cluster.nodes {
                node.knows(slot, 1, owner);
            }
            cluster.node(owner).toy.serve(slot);
        }
        cluster
    }

    fn node(&self, id: u128) -> &Node {
        &self.nodes[usize::try_from(id).unwrap() - 1]
    }
}

impl Node {
    fn start(id: NodeId, authority: &Authority, waits: Waits) -> Self {
        let credentials = credentials(authority, Role::Node);
        let toy = Arc::new(Toy::default());
        // As a client: the hello of a peer is the business of its own room.
        let peer_setup = PeerSetup {
            config: client_config(&credentials, ALPN_CLIENT).unwrap(),
            greeting: Greeting::of_client(),
            from: None,
        };
        let forwarder = Arc::new(Forwarder::new(id, peer_setup, waits));
        let clustered = Arc::new(Clustered::new(Arc::clone(&toy), Arc::clone(&forwarder)));
        let server = Server::new(Arc::clone(&clustered), Bounds::default(), clock::mono_now);
        let setup = ServerSetup::new(&credentials, ClientAuth::Required).unwrap();
        let endpoint = || {
            let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
            let address = socket.local_addr().unwrap();
            (setup.endpoint(socket).unwrap(), address)
        };
        let ((for_clients, clients), (for_peers, peers)) = (endpoint(), endpoint());
        let running = vec![
            tokio::spawn(Arc::clone(&server).run(for_clients)),
            tokio::spawn(serve_peers(server, for_peers)),
        ];
        Self {
            toy,
            forwarder,
            clustered,
            clients,
            peers,
            running,
        }
    }

    /// Tells the node that `owner` owns a slot since an epoch.
    fn knows(&self, slot: u16, epoch: u64, owner: u128) {
        let node = NodeId(owner);
        self.forwarder.apply(&[SlotRecord {
            slot: Slot::new(slot).unwrap(),
            chosen: Configuration {
                version: epoch,
                epoch: Epoch {
                    counter: epoch,
                    node,
                },
                owner: node,
                replicas: Replicas::one(node),
            },
        }]);
    }

    /// Serves a slot, and tells who waits for it.
    fn serve(&self, slot: u16) {
        self.toy.serve(slot);
        self.forwarder.changed();
    }

    /// Has the node decide checks that it does not serve itself.
    async fn decide(&self, keys: &[&str], left: Duration, via: Via) -> Vec<Decided> {
        let asks: Vec<_> = keys.iter().map(|key| ask("free", key)).collect();
        self.decide_all(&asks, Mode::Count, left, via).await
    }

    async fn decide_all(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        left: Duration,
        via: Via,
    ) -> Vec<Decided> {
        let postponed: Vec<_> = asks
            .iter()
            .map(|ask| Postponed { ask, mode, left })
            .collect();
        let tasks = Service::later(&self.clustered, &postponed, via);
        let mut tasks: FuturesUnordered<_> = tasks.into_iter().collect();
        let mut answers: Vec<Option<Decided>> = vec![None; asks.len()];
        while let Some(settled) = tasks.next().await {
            tasks.extend(settled.more);
            for (n, decided) in settled.decided {
                assert!(answers[n].replace(decided).is_none(), "decided once");
            }
        }
        answers.into_iter().map(Option::unwrap).collect()
    }
}

/// Accepts peers as the node's peer port does: a hello, then requests that are not passed on.
async fn serve_peers(server: Arc<Server<Clustered<Toy>>>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let connection = incoming.await.unwrap();
            let first = greet(&connection).await;
            serve_requests(&server, &connection, first).await;
        });
    }
}

async fn greet(connection: &Connection) -> (SendStream, RecvStream, FrameBuffer) {
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    let mut buffer = FrameBuffer::default();
    loop {
        if let Some(frame) = buffer.take().unwrap() {
            decode::<Hello>(frame).unwrap();
            break;
        }
        let piece = receive.read_chunk(1 << 16, true).await.unwrap().unwrap();
        buffer.push(&piece.bytes);
    }
    let welcome: HelloAnswer = Ok(toy::welcome());
    let mut frame = Vec::new();
    encode(&welcome, &mut frame).unwrap();
    send.write_all(&frame).await.unwrap();
    (send, receive, buffer)
}

/// A check of `key`, whose slot is the number before its colon.
fn ask<'a>(policy: &'a str, key: &'a str) -> Ask<'a> {
    Ask {
        target: Target {
            policy: PolicyRef::Named(policy),
            key,
        },
        cost: 1,
    }
}

/// What the toys grant.
#[expect(
    clippy::unnecessary_wraps,
    reason = "to be compared with what was decided"
)]
fn granted(key: &str, source: WireSource) -> Decided {
    Ok(WireDecision {
        source,
        ..toy::decision(true, key)
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "to be compared with what was decided"
)]
fn degraded(key: &str) -> Decided {
    Ok(WireDecision {
        source: WireSource::Degraded,
        ..toy::decision(false, key)
    })
}

fn is_overloaded(decided: &Decided) -> bool {
    matches!(decided, Err(WireError::Overloaded { .. }))
}
