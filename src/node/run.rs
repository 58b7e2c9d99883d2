//! A whole node: an engine, its upkeep, and servers on as many runtimes as there are workers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;

use super::clock;
use super::cluster::{Membership, Part, PolicyText, birth, set_of};
use super::edges::Edge;
use super::engine::Engine;
use super::error::StartError;
use super::forward::Clustered;
use super::http::HttpDoor;
use super::start::{Birth, EngineOptions};
use super::upkeep::{Checkpoints, UpkeepThread};
use super::workers::Workers;
use crate::config::{AfterPowerLoss, HttpConfig, Password};
use crate::limiter::policy::PolicySet;
use crate::protocol::error::WireError;
use crate::server::{Bounds, PeerDoor, Resp, Server, Service};
use crate::storage::layout::is_new;
use crate::transport::endpoint::{ServerSetup, bind};
use crate::transport::tls::{ClientAuth, Credentials};

/// How a [`Node`] is to run. The command line's `ratelimitd serve` fills it from `node.toml`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The node's certificate and the authority that it trusts.
    pub credentials: Credentials,
    /// Answer clients without a certificate too. Default: no.
    pub insecure: bool,
    /// Threads that serve; 0 (the default): one a core.
    pub workers: usize,
    /// Where to keep counts; `None`: in memory only.
    pub data_dir: Option<PathBuf>,
    /// Make the directory if it is missing or empty. Default: no.
    pub create: bool,
    /// Nodes of the cluster to join, as `host:port`, if the directory is missing or empty; one that
    /// answers is enough. Default none: the node makes a cluster of its own, or goes on in the one
    /// that its directory names.
    pub join: Vec<String>,
    /// Where other nodes and clients reach this node, as `host:port`. `None`, the default: the
    /// address it listens on; if that is unspecified, no other node can join.
    pub advertise: Option<String>,
    /// Its share of the slots against the others', 1 to 16. Default 1.
    pub weight: u32,
    /// Nodes that hold each slot of a cluster that this node creates, 1 or 3. Default 1.
    pub replicas: u8,
    /// Where it stands: the replicas of a slot are in different zones where there are enough. At
    /// most 64 bytes; default none.
    pub zone: String,
    /// How long a node may be down until its replicas are made elsewhere. Default 10 minutes.
    pub repair_after: Duration,
    /// How long a stopping node hands its slots to others, at most. Default 30 s.
    pub drain_timeout: Duration,
    /// Most bytes of state sent a second while slots move. Default 64 MiB.
    pub hand_off_bytes_per_second: u64,
    /// Most keys in memory; default 10 million.
    pub max_keys: u64,
    /// Most bytes of key states in memory; default 2 GiB.
    pub max_memory_bytes: u64,
    /// Longest time that a grant of durability `process` stays unsynced; default 1 s.
    pub sync_interval: Duration,
    /// How often changed states are written so that the journal can be dropped; default 5 s.
    pub checkpoint_interval: Duration,
    /// Bytes of commit records after which that is done at once; default 64 MiB.
    pub checkpoint_bytes: u64,
    /// By how much wall clocks may be wrong over a reboot; `None` credits no time. Default 5 s.
    pub max_clock_error: Option<Duration>,
    /// What to do after a start that follows a possible power loss.
    pub after_power_loss: AfterPowerLoss,
    /// Most connections; default 10,000.
    pub max_connections: usize,
    /// Most checks of one stream whose answers wait for a sync; default 8192.
    pub max_in_flight: usize,
    /// Whether and how the node answers HTTP. Default: not.
    pub http: HttpConfig,
    /// Where to serve the Redis protocol; port 0 takes a free one. `None`, the default: nowhere.
    pub resp: Option<SocketAddr>,
    /// What its clients must say with `AUTH`; `None`, the default: nothing, so let no other machine
    /// reach it.
    pub resp_password: Option<Password>,
}

impl NodeOptions {
    /// A node with these credentials on a free port of the loopback address, counting in memory.
    pub fn new(credentials: Credentials) -> Self {
        let bounds = Bounds::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            credentials,
            insecure: false,
            workers: 0,
            data_dir: None,
            create: false,
            join: Vec::new(),
            advertise: None,
            weight: 1,
            replicas: 1,
            zone: String::new(),
            repair_after: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
            hand_off_bytes_per_second: 64 << 20,
            max_keys: 10_000_000,
            max_memory_bytes: 2 << 30,
            sync_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 64 << 20,
            max_clock_error: Some(Duration::from_secs(5)),
            after_power_loss: AfterPowerLoss::Accept,
            max_connections: bounds.connections_max,
            max_in_flight: bounds.in_flight_max,
            http: HttpConfig::default(),
            resp: None,
            resp_password: None,
        }
    }

    fn part(&self, address: SocketAddr) -> Part<'_> {
        let advertise = self.advertise.clone();
        Part {
            credentials: &self.credentials,
            advertise: advertise.unwrap_or_else(|| address.to_string()),
            from: Some(address.ip()).filter(|ip| !ip.is_unspecified()),
            join: &self.join,
            weight: self.weight,
            replicas: self.replicas,
            zone: &self.zone,
            repair_after: self.repair_after,
            hand_off_bytes_per_second: self.hand_off_bytes_per_second,
        }
    }

    fn resp_edge<S: Service>(&self, workers: usize) -> Result<Option<Edge<S>>, StartError> {
        let Some(listen) = self.resp else {
            return Ok(None);
        };
        let password = self.resp_password.as_ref().map(Password::reveal);
        let protocol = Arc::new(Resp::new(password));
        Edge::bind(listen, workers, &protocol).map(Some)
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            connections_max: self.max_connections,
            in_flight_max: self.max_in_flight,
            ..Bounds::default()
        }
    }
}

/// A running node. Dropped, it stops at once, as after a crash.
#[derive(Debug)]
pub struct Node {
    engine: Arc<Engine>,
    address: SocketAddr,
    upkeep: UpkeepThread,
    membership: Membership,
    server: Arc<Server<Clustered<Engine>>>,
    http: Option<HttpDoor>,
    resp_address: Option<SocketAddr>,
    workers: Workers,
    drain_timeout: Duration,
}

impl Node {
    /// Starts a node whose policy file says `policies`; it serves when this returns. A node that is
    /// alone in its cluster puts them in force; in a cluster of several, the stored set is.
    ///
    /// # Errors
    /// [`StartError`]; nothing serves then.
    pub fn start(options: &NodeOptions, policies: &PolicySet) -> Result<Self, StartError> {
        Self::begin(options, Ok(policies))
    }

    /// Starts a node whose policy file cannot be used, for the reason `why`, with the set that its
    /// data directory holds. The log and the status say so, until [`Node::set_policies`].
    ///
    /// # Errors
    /// [`StartError::NoStoredPolicies`] if it holds none, and nothing was changed; or any other.
    pub fn start_with_stored_policies(
        options: &NodeOptions,
        why: &str,
    ) -> Result<Self, StartError> {
        if options.data_dir.as_deref().is_none_or(is_new) {
            return Err(StartError::NoStoredPolicies);
        }
        Self::begin(options, Err(why))
    }

    fn begin(options: &NodeOptions, policies: PolicyText<'_>) -> Result<Self, StartError> {
        let auth = if options.insecure {
            ClientAuth::Optional
        } else {
            ClientAuth::Required
        };
        let setup =
            ServerSetup::new(&options.credentials, auth).map_err(StartError::Credentials)?;
        let tls = super::http::tls(&options.http)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if options.workers == 0 {
            cores
        } else {
            options.workers
        };
        let sockets = bind(options.listen, count).map_err(StartError::Listen)?;
        let address = sockets
            .first()
            .and_then(|socket| socket.local_addr().ok())
            .unwrap_or(options.listen);
        let mut edges = Vec::new();
        let resp = options.resp_edge(count)?;
        let resp_address = resp.as_ref().map(Edge::address);
        edges.extend(resp);
        let part = options.part(address);
        let birth = birth(&part, options.data_dir.as_deref())?;
        // Until the stored set is put in force, before anything is served.
        let none = PolicySet::default();
        let engine = Engine::open(
            &EngineOptions {
                data_dir: options.data_dir.clone(),
                // To join is to begin in a new directory.
                create: options.create || matches!(birth, Birth::Joins { .. }),
                birth,
                keys_max: options.max_keys,
                bytes_max: options.max_memory_bytes,
                sync_interval: options.sync_interval,
                max_clock_error: options.max_clock_error,
                after_power_loss: options.after_power_loss,
                in_flight_max: u32::try_from(options.max_in_flight).unwrap_or(u32::MAX),
            },
            policies.unwrap_or(&none),
        )?;
        let checkpoints = Checkpoints {
            interval: options.checkpoint_interval,
            bytes: options.checkpoint_bytes,
        };
        let upkeep =
            UpkeepThread::start(Arc::clone(&engine), checkpoints).map_err(StartError::Thread)?;
        let workers = Workers::start(count).map_err(StartError::Thread)?;
        let membership = Membership::start(&engine, &part, policies, workers.runtimes())?;
        let cluster = Arc::clone(&membership.cluster);
        let service = Clustered::new(Arc::clone(&engine), Arc::clone(&cluster.forwarder));
        engine.cluster.get_or_init(|| cluster);
        let server = Server::new(Arc::new(service), options.bounds(), clock::mono_now);
        let door: Arc<dyn PeerDoor> = Arc::clone(&membership.door) as _;
        server.open_to_peers(door);
        let http = super::http::listen((&options.http, tls), &engine, count, &mut edges)?;
        let mut node = Self {
            engine,
            address,
            upkeep,
            membership,
            server,
            http,
            resp_address,
            workers,
            drain_timeout: options.drain_timeout,
        };
        node.workers
            .serve(&node.server, sockets, &setup, &mut edges)?;
        Ok(node)
    }

    /// Where the tests of edges ask.
    #[cfg(test)]
    pub(crate) fn desk(&self) -> crate::server::Desk<impl Service + use<>> {
        crate::server::Desk::new(Arc::clone(&self.server))
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers HTTP, if it does.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|door| door.address)
    }

    /// Reads the certificate of HTTPS and its key again, and the authorities of clients: connections
    /// that begin later have what the files say now. False if the node does not answer HTTPS.
    ///
    /// # Errors
    /// [`StartError::Http`]; what was read before stays.
    pub fn read_http_certificate_again(&self) -> Result<bool, StartError> {
        let Some(tls) = self.http.as_ref().and_then(|door| door.tls.as_ref()) else {
            return Ok(false);
        };
        let read = tls.reload();
        read.map(|()| true)
            .map_err(|error| StartError::Http(error.into()))
    }

    /// The address on which it serves the Redis protocol, if it does.
    pub const fn resp_address(&self) -> Option<SocketAddr> {
        self.resp_address
    }

    /// How many policies are in force.
    pub fn policy_count(&self) -> usize {
        self.engine.policies.current().all().len()
    }

    /// Says why the node's policy file cannot be used now: the log and the status tell it. Nothing
    /// else changes.
    pub fn policies_broken(&self, why: &str) {
        let cluster = &self.membership.cluster;
        cluster.policies(&self.engine, |sets| sets.file_broken(why.into()));
    }

    /// Says what the node's policy file holds now. A node that is alone in its cluster puts it in
    /// force; in a cluster of several, the set of the cluster stays in force until one is applied.
    /// Counts stay with the names of the policies.
    ///
    /// # Errors
    /// [`StartError::Policies`]; nothing has changed.
    pub fn set_policies(&self, policies: &PolicySet) -> Result<(), StartError> {
        let file = set_of(policies)?;
        let cluster = &self.membership.cluster;
        cluster.policies(&self.engine, |sets| sets.file_changed(file));
        Ok(())
    }

    /// Resolves when the node has given up: its storage failed, and other nodes hold what it held. They
    /// take its slots over; stop it, and start it again when its storage is well. A node that holds
    /// slots alone never gives up. Cancel safe.
    pub fn stood_down(&self) -> impl Future<Output = ()> + Send + use<> {
        self.membership.cluster.stood_down()
    }

    /// Stops: hands its slots to other nodes, for at most the drain timeout; then takes no new
    /// requests, answers those it has read, for at most `drain`, and commits and syncs all counts.
    /// Blocks until all is done.
    ///
    /// # Errors
    /// [`WireError::StorageFailed`]: what was granted last may not survive power loss.
    pub fn stop(mut self, drain: Duration) -> Result<(), WireError> {
        self.membership.drain(self.drain_timeout);
        self.server.shutdown(drain);
        self.workers.join();
        self.membership.stop();
        self.upkeep.stop();
        let runtime = Builder::new_current_thread()
            .build()
            .map_err(|_| WireError::Unavailable)?;
        runtime.block_on(self.engine.close())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.shutdown(Duration::ZERO);
        self.workers.join();
    }
}
