//! A real node, and a peer with a good certificate that is in session with it.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::client::{Admin, Client};
use crate::limiter::policy::{Limit, Policy, PolicySet};
use crate::membership::identity::Address;
use crate::membership::roster::Roster;
use crate::node::clock;
use crate::node::peers::tests::{TestNode, credentials, free_address, name};
use crate::node::peers::{Joiner, PeerEvent, PeerNet, join};
use crate::node::{Node, NodeOptions};
use crate::protocol::ownership::WireMessage;
use crate::protocol::peer::PeerFrame;
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::tls::Credentials;
use crate::types::{BootCounter, Configuration, Epoch, NodeId, Replicas, Slot};

/// The peer.
pub(super) const FORGER: NodeId = NodeId(66);

/// A real node, and a peer in session with it that does not keep to the protocol.
pub(super) struct Bed {
    node: Node,
    pub(super) admin: Admin,
    client: Client,
    pub(super) forger: TestNode,
    /// What the node says about slots.
    pub(super) said: mpsc::Receiver<WireMessage>,
    pub(super) owner: NodeId,
}

impl Bed {
    pub(super) async fn start() -> Self {
        let authority = Authority::create("test").unwrap();
        let own = authority.issue(Role::Node, "honest", &["127.0.0.1".to_owned()]);
        let own = Credentials::issued(&authority, &own.unwrap()).unwrap();
        let mut options = NodeOptions::new(own);
        options.workers = 1;
        let mut policies = PolicySet::default();
        let limit: Limit = "1000/hour".parse().unwrap();
        let policy = Policy::new(limit);
        policies.policies.insert("api".to_owned(), policy);
        let node = Node::start(&options, &policies).unwrap();
        let at = Address::new(&node.address().to_string()).unwrap();
        let connect = |role| {
            Client::builder()
                .seeds([node.address()])
                .tls(credentials(&authority, role, "someone"))
                .deadline(Duration::from_secs(60))
        };
        let client = connect(Role::Client).connect().await.unwrap();
        let admin = connect(Role::Admin).connect_admin().await.unwrap();
        let joiner = Joiner {
            node: FORGER,
            address: free_address(),
            boot: BootCounter(1),
        };
        let certificate = credentials(&authority, Role::Node, &name(FORGER.0));
        let seeds = [at.clone()];
        let joined = join(&seeds, &certificate, &joiner, Duration::from_secs(60)).await;
        let joined = joined.unwrap();
        let life = (FORGER.0, 1);
        let cluster = joined.cluster;
        let address = &joiner.address;
        let mut forger = TestNode::start_in(cluster, &authority, life, address, Roster::default());
        let owner = joined.seed.node;
        forger
            .tell(move |net| net.set_targets(vec![(owner, at)]))
            .await;
        let said = listen(&mut forger).await;
        Self {
            node,
            admin,
            client,
            forger,
            said,
            owner,
        }
    }

    pub(super) async fn end(self) {
        let node = self.node;
        let stop = move || node.stop(Duration::ZERO).unwrap();
        tokio::task::spawn_blocking(stop).await.unwrap();
    }

    pub(super) async fn send(&mut self, frames: Vec<PeerFrame>) {
        let owner = self.owner;
        let sent = self
            .forger
            .tell(move |net: &mut PeerNet| frames.iter().all(|frame| net.send(owner, frame)));
        assert!(sent.await, "the session is on");
    }

    pub(super) async fn refused(&self) -> u64 {
        self.admin.status().await.unwrap().peers_refused
    }

    /// What is chosen of a slot, by the node's word.
    pub(super) async fn chosen(&self) -> Configuration {
        let it = self.admin.owner("key").await.unwrap();
        let owner = NodeId(it.owner);
        Configuration {
            version: it.version,
            epoch: Epoch {
                counter: it.epoch,
                node: owner,
            },
            owner,
            replicas: Replicas::one(owner),
        }
    }

    /// The slot that all is about.
    pub(super) async fn slot(&self) -> Slot {
        Slot::new(self.admin.owner("key").await.unwrap().slot).unwrap()
    }

    /// Waits until something more was refused than `before`.
    pub(super) async fn refuses(&self, what: &str, before: u64) {
        let given_up = clock::mono_now().plus(Duration::from_secs(60));
        while self.refused().await <= before {
            assert!(clock::mono_now() < given_up, "{what} was not refused");
            tokio::task::yield_now().await;
        }
    }

    /// The node owns all slots still, and decides.
    pub(super) async fn is_unmoved(&self, what: &str) {
        let ring = self.admin.ring().await.unwrap();
        let place = ring.nodes.iter().position(|it| it.node == self.owner.0);
        let place = u16::try_from(place.unwrap()).unwrap();
        let owned = ring.runs.iter().filter(|run| run.1 == place);
        let owned: u32 = owned.map(|run| u32::from(run.0)).sum();
        assert_eq!(owned, 4096, "{what} moved slots");
        let decision = self.client.check("api", "key").await.unwrap();
        assert!(decision.allowed, "{what}");
    }
}

/// Waits for the session; from then on what the node says about slots is passed on.
async fn listen(forger: &mut TestNode) -> mpsc::Receiver<WireMessage> {
    while !matches!(forger.event().await, PeerEvent::Connected { .. }) {}
    let nothing = mpsc::channel(1).1;
    let mut events = std::mem::replace(&mut forger.events, nothing);
    let (tell, said) = mpsc::channel(256);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let PeerEvent::Frame {
                frame: PeerFrame::Ownership(message),
                ..
            } = event
            {
                // The test listens to some.
                tell.try_send(message).ok();
            }
        }
    });
    said
}
