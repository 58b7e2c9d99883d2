//! Engines that are linked over real connections on loopback, each with the part of a control loop
//! that matters here.

mod forged;
mod linked;
mod lost;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(in crate::node) use rows::{assert_same, rows_of};

use super::{Berth, LinkEvent, Links};
use crate::config::AfterPowerLoss;
use crate::limiter::policy::{Durability, Limit, Policy, PolicySet};
use crate::limiter::transfer::Row;
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::Roster;
use crate::node::batch::OnCold;
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::peers::{
    BulkSender, ClusterIdentity, LinkDialer, LinkDoor, Own, PeerEvent, PeerNet,
};
use crate::node::slots::{Installation, NewState};
use crate::node::start::{Birth, EngineOptions};
use crate::protocol::bulk::BulkRequest;
use crate::protocol::client::{Ask, PolicyRef, Target};
use crate::server::{Bounds, Mode, Server, Toy, Wait};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::endpoint::{ServerSetup, bind};
use crate::transport::tls::{ClientAuth, Credentials};
use crate::types::{
    BootCounter, Configuration, Epoch, NodeId, Replicas, SLOT_COUNT, Slot, SlotSet,
};

const CLUSTER: ClusterIdentity = ClusterIdentity {
    cluster: 77,
    slot_count: SLOT_COUNT,
    key_secret: *b"0123456789abcdef",
};

type Command = Box<dyn FnOnce(&mut PeerNet) + Send>;
type Bulk = (NodeId, BulkRequest, BulkSender);

/// A node of the cluster.
pub(in crate::node) struct TestNode {
    pub(in crate::node) engine: Arc<Engine>,
    pub(in crate::node) links: Arc<Links>,
    pub(in crate::node) bulk: mpsc::Receiver<Bulk>,
    identity: Identity,
    commands: mpsc::Sender<Command>,
    server: Arc<Server<Toy>>,
    running: Vec<JoinHandle<()>>,
}

fn policies() -> PolicySet {
    let mut set = PolicySet::default();
    for durability in [Durability::Process, Durability::Fsync] {
        let mut policy = Policy::new("1000/hour".parse::<Limit>().unwrap());
        policy.durability = durability;
        set.policies.insert(format!("{durability:?}"), policy);
    }
    set
}

pub(in crate::node) fn credentials(authority: &Authority, name: &str) -> Credentials {
    let issued = authority.issue(Role::Node, name, &[]).unwrap();
    Credentials::issued(authority, &issued).unwrap()
}

fn open(dir: Option<&Path>, node: u128) -> Arc<Engine> {
    let options = EngineOptions {
        data_dir: dir.map(Path::to_owned),
        create: true,
        keys_max: 100_000,
        bytes_max: u64::MAX,
        sync_interval: Duration::from_secs(1),
        max_clock_error: None,
        after_power_loss: AfterPowerLoss::Accept,
        in_flight_max: 0,
        birth: Birth::Joins {
            node: NodeId(node),
            cluster: CLUSTER,
        },
    };
    Engine::open(&options, &policies()).unwrap()
}

impl TestNode {
    pub(in crate::node) fn start(authority: &Authority, node: u128) -> Self {
        Self::with(authority, open(None, node), None)
    }

    /// A node with a directory.
    pub(in crate::node) fn start_in(authority: &Authority, node: u128, dir: &Path) -> Self {
        Self::with(authority, open(Some(dir), node), None)
    }

    /// A node with this engine, whose links from others go to `door` if there is one.
    fn with(
        authority: &Authority,
        engine: Arc<Engine>,
        links_to: Option<Arc<dyn LinkDoor>>,
    ) -> Self {
        let node = engine.about.node;
        let credentials = credentials(authority, &format!("node-{node}"));
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = Address::new(&socket.local_addr().unwrap().to_string()).unwrap();
        let identity = Identity::new(node, address, BootCounter(1));
        let own = Own {
            cluster: CLUSTER,
            identity: identity.clone(),
            from: None,
            in_flight_max: 100,
        };
        let net = PeerNet::new(own, Roster::default(), &credentials).unwrap();
        let berth = Berth {
            runtime: Handle::current(),
            dialer: net.link_dialer(&credentials).unwrap(),
        };
        let links = Links::start(&engine, vec![berth]).unwrap();
        let server = Server::new(Arc::new(Toy::default()), Bounds::default(), clock::mono_now);
        let door = net.door();
        door.open_to_links(links_to.unwrap_or_else(|| links.door()));
        server.open_to_peers(door);
        let setup = ServerSetup::new(&credentials, ClientAuth::Optional).unwrap();
        let endpoint = setup.endpoint(socket).unwrap();
        let mut running = vec![tokio::spawn(Arc::clone(&server).run(endpoint))];
        let (commands, told) = mpsc::channel(1);
        let (asked, bulk) = mpsc::channel(4);
        running.push(tokio::spawn(control(net, Arc::clone(&links), told, asked)));
        Self {
            engine,
            links,
            bulk,
            identity,
            commands,
            server,
            running,
        }
    }

    pub(in crate::node) fn id(&self) -> NodeId {
        self.identity.node
    }

    /// Has the control task do something.
    pub(in crate::node) async fn tell<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut PeerNet) -> T + Send + 'static,
    ) -> T {
        let (answer, mut answered) = mpsc::channel(1);
        let command: Command = Box::new(move |net| {
            assert!(answer.try_send(command(net)).is_ok());
        });
        self.commands.send(command).await.ok().unwrap();
        answered.recv().await.unwrap()
    }

    pub(in crate::node) async fn knows(&self, others: &[&Self]) {
        let others = others.iter().map(|it| &it.identity);
        let targets = others.map(|it| (it.node, it.address.clone())).collect();
        self.tell(|net| net.set_targets(targets)).await;
    }

    /// A dialer with another node's certificate, or this one's.
    async fn dialer(&self, credentials: Credentials) -> LinkDialer {
        let dialer = self.tell(move |net| net.link_dialer(&credentials)).await;
        dialer.unwrap()
    }

    /// What was refused of what others said.
    async fn refused(&self) -> u64 {
        self.tell(|net| net.counts().malformed).await
    }

    /// Installs rows of all slots, in a reign and as many of its commits.
    fn install(&self, epoch: Epoch, slots: Vec<(Slot, u64, Option<Vec<Row>>)>) {
        let slots = slots.into_iter().map(|(slot, n, rows)| Installation {
            slot,
            n,
            register: vec![1],
            clock: self.engine.table.slot_now(slot, self.engine.now()),
            state: rows.map_or(NewState::Own, NewState::Rows),
        });
        self.engine.install(epoch, slots.collect()).unwrap();
    }

    /// Owns all slots from here on, with these nodes as replicas.
    pub(in crate::node) fn serve(&self, epoch: Epoch, replicas: &[NodeId]) {
        self.install(epoch, Slot::all().map(|slot| (slot, 0, None)).collect());
        let chosen = Configuration {
            version: 1,
            epoch,
            owner: self.id(),
            replicas: Replicas::of(replicas),
        };
        for slot in Slot::all() {
            self.engine.replication.serve(slot, &chosen, &[]);
            self.engine.serve(&[(slot, epoch)]).unwrap();
        }
    }

    /// Holds an empty state of all slots, in a reign of another node.
    pub(in crate::node) fn hold(&self, epoch: Epoch) {
        let empty = |slot| (slot, 0, Some(Vec::new()));
        self.install(epoch, Slot::all().map(empty).collect());
    }

    /// Copies all slots from their owner, as bulk does, and follows.
    async fn catch_up(&self, owner: &Self, epoch: Epoch) {
        let slots = Slot::all().collect();
        self.links.restart(owner.id(), &slots);
        while !owner.links.feed(self.id(), &slots) {
            // The link is known at this end first.
            tokio::task::yield_now().await;
        }
        let table = &owner.engine.table;
        let noted = Slot::all().map(|slot| (slot, table.position(slot)));
        let noted: Vec<_> = noted.collect();
        let mut rows = rows_of(&owner.engine);
        let copied = noted.into_iter().map(|(slot, at)| {
            assert_eq!(at.epoch, epoch);
            (slot, at.n, Some(rows.remove(&slot).unwrap_or_default()))
        });
        self.install(epoch, copied.collect());
        let all: Vec<_> = Slot::all().map(|slot| (slot, epoch)).collect();
        self.links.follow(&all);
    }

    /// Follows `owner`, catching up whenever it is behind, until the owner has all in sync.
    pub(in crate::node) async fn follow(&self, owner: &Self, epoch: Epoch) {
        let in_sync = self.all_in_sync(owner);
        let mut in_sync = std::pin::pin!(in_sync);
        loop {
            tokio::select! {
                event = self.links.next_event() => match event {
                    LinkEvent::Behind { .. } => self.catch_up(owner, epoch).await,
                    other => panic!("{other:?}"),
                },
                () = in_sync.as_mut() => return,
            }
        }
    }

    /// Resolves when `owner` has been told that this node is in sync for all slots.
    pub(in crate::node) async fn all_in_sync(&self, owner: &Self) {
        let mut in_sync = SlotSet::EMPTY;
        while in_sync.len() < usize::from(SLOT_COUNT) {
            match owner.links.next_event().await {
                LinkEvent::InSync { peer, slots } => {
                    assert_eq!(peer, self.id());
                    slots.iter().for_each(|slot| in_sync.insert(slot));
                }
                LinkEvent::OutOfSync { slots, .. } => {
                    slots.iter().for_each(|slot| in_sync.remove(slot));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asks for a check of each key; what is to be waited for of those that are granted.
    pub(in crate::node) fn grant(&self, keys: &[String], durability: Durability) -> Vec<Wait> {
        let policy = format!("{durability:?}");
        let asks = keys.iter().map(|key| Ask {
            target: Target {
                policy: PolicyRef::Named(&policy),
                key,
            },
            cost: 1,
        });
        let asks: Vec<_> = asks.collect();
        let mut answers = Vec::new();
        self.engine
            .batch(&asks, (Mode::Count, OnCold::Read), &mut answers);
        let waits = answers.into_iter().zip(keys).filter_map(|(answer, key)| {
            // Without a majority for long, nothing is granted.
            let granted = answer.decision.unwrap().allowed;
            let ticket = answer.wait.filter(|_| granted)?.ticket;
            let slot = self.engine.slot_of(key);
            Some(Wait {
                ticket,
                durability,
                slot,
            })
        });
        waits.collect()
    }

    /// Grants a check of each key and waits until all are kept here and by a majority; those that are
    /// not lost may be answered.
    pub(in crate::node) async fn granted(
        &self,
        keys: &[String],
        durability: Durability,
    ) -> Vec<String> {
        let waits = self.grant(keys, durability);
        // Nothing is granted meanwhile, so the last wait is all.
        if let Some(wait) = waits.last() {
            let kept = self.engine.committer.kept(wait.ticket, wait.durability);
            kept.await.unwrap();
            self.engine.replication.kept(*wait).await;
        }
        if waits.len() < keys.len() {
            return Vec::new();
        }
        let kept = keys.iter().zip(waits);
        let kept = kept.filter(|(_, wait)| !self.engine.replication.is_lost(*wait));
        kept.map(|(key, _)| key.clone()).collect()
    }

    /// Ends the node, as a crash does.
    pub(in crate::node) async fn stop(mut self) {
        self.server.shutdown(Duration::ZERO);
        drop(self.commands);
        for task in self.running.drain(..) {
            task.await.unwrap();
        }
        self.links.stop();
        // Its tasks are of this runtime, and hold the engine.
        while !self.links.are_over() {
            tokio::task::yield_now().await;
        }
    }
}

pub(in crate::node) fn keys(names: std::ops::Range<usize>) -> Vec<String> {
    names.map(|n| format!("key-{n}")).collect()
}

pub(in crate::node) const fn reign(owner: NodeId) -> Epoch {
    Epoch {
        counter: 7,
        node: owner,
    }
}

async fn control(
    mut net: PeerNet,
    links: Arc<Links>,
    mut told: mpsc::Receiver<Command>,
    bulk: mpsc::Sender<Bulk>,
) {
    loop {
        tokio::select! {
            biased;
            command = told.recv() => match command {
                Some(command) => command(&mut net),
                None => return net.shut_down(),
            },
            event = net.next() => match event {
                PeerEvent::Connected { peer } => links.connect(&peer),
                PeerEvent::Lost { peer } => links.lost(peer),
                PeerEvent::Bulk { from, request, chunks } => {
                    bulk.send((from, request, chunks)).await.ok().unwrap();
                }
                PeerEvent::Frame { .. } | PeerEvent::Datagram { .. } => {}
                PeerEvent::Refused { refusal, .. } => panic!("{refusal}"),
            },
        }
    }
}

/// An owner of all slots and a replica that is in sync.
pub(in crate::node) async fn couple(authority: &Authority) -> (TestNode, TestNode) {
    let (owner, replica) = (TestNode::start(authority, 1), TestNode::start(authority, 2));
    let epoch = reign(owner.id());
    owner.serve(epoch, &[owner.id(), replica.id()]);
    replica.hold(epoch);
    owner.knows(&[&replica]).await;
    replica.knows(&[&owner]).await;
    replica.follow(&owner, epoch).await;
    (owner, replica)
}
