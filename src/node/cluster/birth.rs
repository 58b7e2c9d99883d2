//! How a node becomes one of its cluster: it creates it, joins it, or goes on in it; and the thread
//! on which its control loop runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::control::{COPIES_MAX, Control, DONE_MAX, Settings};
use super::handle::{COMMANDS_MAX, Cluster, Command};
use super::seals::Seals;
use super::stored::{PolicyText, cluster_settings, may_take_part, policies, registers, roster};
use super::targets::Targeted;
use super::view::View;
use crate::membership::cluster_settings::ClusterSettings;
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::{Roster, Standing, WEIGHT_MAX};
use crate::membership::swim::{Swim, SwimConfig};
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::error::StartError;
use crate::node::forward::{Forwarder, Waits, peer_setup};
use crate::node::links::{Berth, Links};
use crate::node::peers::{ClusterIdentity, Door, Joiner, Own, PeerNet, join};
use crate::node::start::Birth;
use crate::ownership::{Ownership, Settings as OwnershipSettings};
use crate::storage::layout::is_new;
use crate::transport::CertError;
use crate::transport::tls::Credentials;
use crate::types::{BootCounter, NodeId, Replicas, SLOT_COUNT, Slot, SlotRecord, SlotSet};

/// How long a node that joins asks the others before it gives up.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may take until it serves what it owns: some synced writes of a slow disk.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What a node is told of its part in the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    /// Its certificate.
    pub(crate) credentials: &'a Credentials,
    /// Where others reach it.
    pub(crate) advertise: String,
    /// The address that it connects to others from; any if it listens on all.
    pub(crate) from: Option<IpAddr>,
    /// Nodes to join.
    pub(crate) join: &'a [String],
    /// Its share of the slots.
    pub(crate) weight: u32,
    /// Replicas of each slot of a cluster that it creates.
    pub(crate) replicas: u8,
    /// Where it stands.
    pub(crate) zone: &'a str,
    /// How long a node may be down until its replicas are made elsewhere.
    pub(crate) repair_after: Duration,
    /// Most bytes of copies a second.
    pub(crate) hand_off_bytes_per_second: u64,
}

/// A node's part in its cluster, running.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
}

/// What the node becomes: asks the nodes to join, if its directory is new and it is to join any.
///
/// # Errors
/// [`StartError`]; nothing was changed anywhere.
pub(crate) fn birth(part: &Part<'_>, data_dir: Option<&Path>) -> Result<Birth, StartError> {
    let new = data_dir.is_none_or(is_new);
    if part.join.is_empty() || !new {
        return Ok(Birth::Founder);
    }
    let joiner = Joiner {
        node: NodeId(rand::random()),
        address: part.address()?,
        boot: BootCounter(1),
    };
    let seeds = part.seeds()?;
    let ask = || {
        let joining = join(&seeds, part.credentials, &joiner, JOIN_PATIENCE);
        let joined = runtime()?.block_on(joining);
        joined.map_err(|error| StartError::Join(Box::new(error)))
    };
    // Whoever starts a node may be inside a runtime, where no other one can be waited for.
    let joined = std::thread::scope(|scope| scope.spawn(ask).join());
    let joined = joined.unwrap_or(Err(StartError::NotReady))?;
    tracing::info!(seed = %joined.seed.node, "the cluster lets this node join");
    Ok(Birth::Joins {
        node: joiner.node,
        cluster: joined.cluster,
    })
}

impl Part<'_> {
    fn address(&self) -> Result<Address, StartError> {
        let advertise = self.advertise.clone();
        Address::new(&advertise).ok_or(StartError::Advertise { advertise })
    }

    fn seeds(&self) -> Result<Vec<Address>, StartError> {
        let seeds = self.join.iter().map(|seed| {
            Address::new(seed).ok_or_else(|| StartError::BadSeed { seed: seed.clone() })
        });
        seeds.collect()
    }

    fn settings(&self, advertise: Address) -> Settings {
        Settings {
            advertise,
            certificate: self.credentials.name().unwrap_or_default(),
            weight: self.weight.clamp(1, WEIGHT_MAX),
            zone: self.zone.to_owned(),
            repair_after: self.repair_after,
            hand_off_bytes_per_second: self.hand_off_bytes_per_second,
        }
    }
}

impl Membership {
    /// Starts the node's part in its cluster; it serves the slots that it owns when this returns. The
    /// links to other nodes are driven by `workers`.
    ///
    /// # Errors
    /// [`StartError`]; nothing serves then.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        part: &Part<'_>,
        file: PolicyText<'_>,
        workers: Vec<Handle>,
    ) -> Result<Self, StartError> {
        let (address, seeds) = (part.address()?, part.seeds()?);
        let about = &engine.about;
        let own = Own {
            cluster: ClusterIdentity {
                cluster: about.cluster,
                slot_count: SLOT_COUNT,
                key_secret: about.key_secret,
            },
            identity: Identity::new(about.node, address.clone(), BootCounter(about.boots)),
            from: part.from,
            in_flight_max: about.in_flight_max,
        };
        let registers = registers(engine)?;
        let roster = roster(engine)?;
        may_take_part(&roster, about.node)?;
        let wanted = cluster_settings(engine, part.replicas)?;
        let setup = peer_setup(part.credentials, &own).map_err(StartError::Credentials)?;
        let forwarder = Arc::new(Forwarder::new(about.node, setup, Waits::default()));
        let (policies, effects) = policies(engine, &roster, file)?;
        let (command, commands) = mpsc::channel(COMMANDS_MAX);
        let cluster = Arc::new(Cluster::new(forwarder, policies, View::default(), command));
        cluster.begin_policies(engine, effects);
        let mut net = PeerNet::new(own.clone(), roster.clone(), part.credentials)
            .map_err(StartError::Credentials)?;
        let door = net.door();
        let berths = berths(&net, part.credentials, workers);
        let berths = berths.map_err(StartError::Credentials)?;
        let links = Links::start(engine, berths).map_err(StartError::Thread)?;
        door.open_to_links(links.door());
        let settings = part.settings(address);
        let ownership = Ownership::new(
            about.node,
            registers,
            OwnershipSettings::default(),
            rand::random(),
        );
        let owned_alone = |slot: &Slot| {
            let chosen = ownership.record(*slot);
            chosen.is_some_and(|it| it.replicas == Replicas::one(about.node))
        };
        let alone: SlotSet = Slot::all().filter(owned_alone).collect();
        let swim = Swim::new(own.identity, SwimConfig::default(), rand::random());
        let known = Slot::all().filter_map(|slot| {
            let chosen = ownership.record(slot)?;
            Some(SlotRecord { slot, chosen })
        });
        cluster.forwarder.apply(&known.collect::<Vec<_>>());
        let parts = (Arc::clone(engine), Arc::clone(&cluster), settings);
        let rooms = (ownership, swim, (roster, wanted));
        let (started, starting) = bounded(1);
        let runtime = runtime()?;
        let run = move || {
            {
                let _inside = runtime.enter();
                net.set_seeds(seeds);
            }
            let control = control(parts, rooms, (net, links, commands));
            LocalSet::new().block_on(&runtime, control.run(started));
        };
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(run).map_err(StartError::Thread)?;
        let membership = Self {
            cluster,
            door,
            thread: Some(thread),
        };
        membership.wait_ready(engine, &starting, &alone)?;
        Ok(membership)
    }

    /// Waits until the node serves all slots that it owns alone: for others it needs other nodes.
    fn wait_ready(
        &self,
        engine: &Engine,
        starting: &Receiver<()>,
        alone: &SlotSet,
    ) -> Result<(), StartError> {
        starting.recv().map_err(|_ended| StartError::NotReady)?;
        let map = self.cluster.forwarder.map();
        let since = clock::mono_now();
        let mine = || alone.iter().filter(|slot| map.is_mine(*slot));
        while !mine().all(|slot| engine.table.is_served(slot)) {
            if let Some(reason) = self.cluster.view().shut_out.clone() {
                return Err(StartError::ShutOut { reason });
            }
            if clock::mono_now().since(since) > START_PATIENCE || engine.fence.is_closed() {
                return Err(StartError::NotReady);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Hands all slots to other nodes, for at most `patience`. What is left stays this node's.
    pub(crate) fn drain(&self, patience: Duration) {
        let (drained, waits) = bounded(1);
        if self.cluster.command(Command::Drain(drained)).is_err() {
            return;
        }
        if let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(patience) {
            tracing::warn!(
                "not all slots were handed over in time; they wait for this node to return"
            );
        }
    }

    /// Tells the others that this node goes, and ends the control loop.
    pub(crate) fn stop(&mut self) {
        let (stopped, stopping) = bounded(1);
        if self.cluster.command(Command::Stop(stopped)).is_ok() {
            // An error says that the loop has ended, which is as good.
            stopping.recv().ok();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked; please report this");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}

type Parts = (Arc<Engine>, Arc<Cluster>, Settings);
type Rooms = (Ownership, Swim, (Roster, ClusterSettings));

/// A control loop about to run.
fn control(
    (engine, cluster, settings): Parts,
    (ownership, swim, (roster, wanted)): Rooms,
    (net, links, commands): (PeerNet, Arc<Links>, mpsc::Receiver<Command>),
) -> Control {
    let (done, ended) = mpsc::channel(DONE_MAX);
    let now = clock::mono_now();
    Control {
        engine,
        cluster,
        settings,
        ownership,
        swim,
        roster,
        wanted,
        net,
        links,
        commands,
        done,
        ended,
        tasks: JoinSet::new(),
        wake_at: now,
        tick_at: now,
        tell_at: now,
        staged: BTreeMap::new(),
        whole: BTreeMap::new(),
        copying: BTreeMap::new(),
        copied_from: BTreeMap::new(),
        lines: BTreeMap::new(),
        seals: Seals::default(),
        bytes: BTreeMap::new(),
        exports: BTreeMap::new(),
        copies: Arc::new(Semaphore::new(COPIES_MAX)),
        becoming: Vec::new(),
        became: BTreeMap::new(),
        connected: BTreeSet::new(),
        targeted: Targeted::default(),
        down_since: BTreeMap::new(),
        targets: Arc::default(),
        standing: Standing::Active,
        leaving: false,
        waits_drained: Vec::new(),
        shut_out: None,
        changed: true,
    }
}

/// Where the links are driven: on the workers.
fn berths(
    net: &PeerNet,
    credentials: &Credentials,
    workers: Vec<Handle>,
) -> Result<Vec<Berth>, CertError> {
    let berths = workers.into_iter().map(|runtime| {
        let dialer = net.link_dialer(credentials)?;
        Ok(Berth { runtime, dialer })
    });
    berths.collect()
}

fn runtime() -> Result<Runtime, StartError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(StartError::Thread)
}
