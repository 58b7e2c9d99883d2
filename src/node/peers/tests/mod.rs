//! Nodes over real connections on loopback: who finds whom, who is let in, what comes over.

mod bulk;
mod joining;
mod refusals;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counts::PeerCounts;
use super::{ClusterIdentity, Own, PeerEvent, PeerNet};
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::Roster;
use crate::node::clock;
use crate::server::{Bounds, Server, Toy};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::endpoint::{ServerSetup, bind};
use crate::transport::tls::{ClientAuth, Credentials};
use crate::types::{BootCounter, NodeId, SLOT_COUNT};

const CLUSTER: ClusterIdentity = ClusterIdentity {
    cluster: 77,
    slot_count: SLOT_COUNT,
    key_secret: *b"0123456789abcdef",
};

type Command = Box<dyn FnOnce(&mut PeerNet) + Send>;

/// A node whose control thread is a task that passes on what happens.
pub(in crate::node) struct TestNode {
    pub(in crate::node) id: NodeId,
    boot: u64,
    pub(in crate::node) address: Address,
    pub(in crate::node) events: mpsc::Receiver<PeerEvent>,
    commands: mpsc::Sender<Command>,
    server: Arc<Server<Toy>>,
    running: Vec<JoinHandle<()>>,
}

pub(in crate::node) fn credentials(authority: &Authority, role: Role, name: &str) -> Credentials {
    let issued = authority.issue(role, name, &[]).unwrap();
    Credentials::issued(authority, &issued).unwrap()
}

/// The name in the certificate of each test node.
pub(in crate::node) fn name(id: u128) -> String {
    format!("node-{id}")
}

/// An address on loopback that was free a moment ago.
pub(in crate::node) fn free_address() -> Address {
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    Address::new(&socket.local_addr().unwrap().to_string()).unwrap()
}

impl TestNode {
    fn start(authority: &Authority, id: u128) -> Self {
        Self::start_at(authority, (id, 1), &free_address(), Roster::default())
    }

    fn start_at(
        authority: &Authority,
        (id, boot): (u128, u64),
        address: &Address,
        roster: Roster,
    ) -> Self {
        Self::start_in(CLUSTER, authority, (id, boot), address, roster)
    }

    /// A node of some cluster.
    pub(in crate::node) fn start_in(
        cluster: ClusterIdentity,
        authority: &Authority,
        (id, boot): (u128, u64),
        address: &Address,
        roster: Roster,
    ) -> Self {
        let credentials = credentials(authority, Role::Node, &name(id));
        let identity = Identity::new(NodeId(id), address.clone(), BootCounter(boot));
        let own = Own {
            cluster,
            identity,
            from: None,
            in_flight_max: 100,
        };
        let net = PeerNet::new(own, roster, &credentials).unwrap();
        let server = Server::new(Arc::new(Toy::default()), Bounds::default(), clock::mono_now);
        server.open_to_peers(net.door());
        let setup = ServerSetup::new(&credentials, ClientAuth::Optional).unwrap();
        let socket = bind(address.as_str().parse().unwrap(), 1)
            .unwrap()
            .remove(0);
        let endpoint = setup.endpoint(socket).unwrap();
        let mut running = vec![tokio::spawn(Arc::clone(&server).run(endpoint))];
        let (tell, events) = mpsc::channel(1);
        let (commands, told) = mpsc::channel(1);
        running.push(tokio::spawn(control(net, tell, told)));
        Self {
            id: NodeId(id),
            boot,
            address: address.clone(),
            events,
            commands,
            server,
            running,
        }
    }

    fn identity(&self) -> Identity {
        Identity::new(self.id, self.address.clone(), BootCounter(self.boot))
    }

    /// Has the control task do something.
    pub(in crate::node) async fn tell<T: Send + 'static>(
        &mut self,
        command: impl FnOnce(&mut PeerNet) -> T + Send + 'static,
    ) -> T {
        let (answer, mut answered) = mpsc::channel(1);
        let command: Command = Box::new(move |net| {
            assert!(answer.try_send(command(net)).is_ok());
        });
        self.commands.send(command).await.ok().unwrap();
        answered.recv().await.unwrap()
    }

    async fn knows(&mut self, others: &[&Self]) {
        let targets = others
            .iter()
            .map(|it| (it.id, it.address.clone()))
            .collect();
        self.tell(|net| net.set_targets(targets)).await;
    }

    async fn counts(&mut self) -> PeerCounts {
        self.tell(|net| net.counts()).await
    }

    pub(in crate::node) async fn event(&mut self) -> PeerEvent {
        self.events.recv().await.unwrap()
    }

    /// The next event that is not gossip's, in words.
    async fn heard(&mut self) -> String {
        match self.event().await {
            PeerEvent::Connected { peer, .. } => format!("connected {}", peer.node.0),
            PeerEvent::Lost { peer } => format!("lost {}", peer.0),
            PeerEvent::Frame { from, frame, .. } => format!("{} says {frame:?}", from.0),
            PeerEvent::Datagram { from, bytes } => format!("{} gossips {bytes:?}", from.0),
            PeerEvent::Bulk { from, request, .. } => format!("{} wants {request:?}", from.0),
            PeerEvent::Refused {
                peer,
                refusal,
                by_peer,
            } => format!("refused {} {by_peer} {refusal}", peer.0),
        }
    }

    /// Ends the node; its address is free then.
    async fn stop(mut self) {
        self.server.shutdown(Duration::ZERO);
        drop(self.commands);
        drop(self.events);
        for task in self.running.drain(..) {
            task.await.unwrap();
        }
        // The endpoint gives its socket back a moment later.
        while bind(self.address.as_str().parse().unwrap(), 1).is_err() {
            tokio::task::yield_now().await;
        }
    }
}

async fn control(
    mut net: PeerNet,
    tell: mpsc::Sender<PeerEvent>,
    mut told: mpsc::Receiver<Command>,
) {
    loop {
        tokio::select! {
            biased;
            command = told.recv() => match command {
                Some(command) => command(&mut net),
                None => return,
            },
            // Nothing is read while the test does not listen.
            place = tell.reserve() => {
                let Ok(place) = place else {
                    return;
                };
                tokio::select! {
                    biased;
                    command = told.recv() => match command {
                        Some(command) => command(&mut net),
                        None => return,
                    },
                    event = net.next() => place.send(event),
                }
            }
        }
    }
}

/// Two nodes in session.
pub(in crate::node) async fn couple(authority: &Authority) -> (TestNode, TestNode) {
    let mut one = TestNode::start(authority, 1);
    let mut two = TestNode::start(authority, 2);
    one.knows(&[&two]).await;
    two.knows(&[&one]).await;
    let heard = tokio::join!(one.heard(), two.heard());
    assert_eq!(heard, ("connected 2".to_owned(), "connected 1".to_owned()));
    (one, two)
}
