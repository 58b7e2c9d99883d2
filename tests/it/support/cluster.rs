//! A cluster of real nodes on addresses of their own of the loopback range, each behind a relay, all
//! gone at the end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use distributed_rate_limiter::client::{Admin, Builder, Client};
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::certs::{Authority, Existing};
use distributed_rate_limiter::transport::tls::Credentials;
use tempfile::TempDir;

use super::PATIENCE;
use super::disk::Disk;
use super::log::field;
use super::node::Node;
use super::relay::{Cut, Relay};

/// The settings of all nodes; checkpoints every second, so that even short lives see some.
const SETTINGS: &str = "\
[server]
drain_timeout = \"20s\"
[storage]
checkpoint_interval = \"1s\"
[log]
format = \"json\"
";

/// Deadline of clients: a busy machine may stand still for a while, and no time is judged here.
const DEADLINE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: TempDir,
    authority: Authority,
    places: Vec<Place>,
    replicas: u8,
    /// Size of the disk that each node has of its own, in MiB; 0: none has one.
    disk_mib: u32,
}

/// Where a node is, running or not.
#[derive(Debug)]
struct Place {
    number: u8,
    listen: SocketAddr,
    relay: Relay,
    node: Option<Node>,
    /// Its own, if it has one; unmounted after the node is gone.
    disk: Option<Disk>,
}

impl Cluster {
    /// A cluster of so many nodes with these policies, written as in `limits.toml`; it has settled.
    pub(crate) async fn start(nodes: usize, policies: &str) -> Self {
        Self::start_replicated(nodes, 1, policies).await
    }

    /// The same, with each slot on so many of the nodes.
    pub(crate) async fn start_replicated(nodes: usize, replicas: u8, policies: &str) -> Self {
        Self::start_on_disks(nodes, (replicas, 0), policies).await
    }

    /// The same, with each node on a disk of its own of so many MiB, where that can be (see
    /// [`Disk::mount`]).
    pub(crate) async fn start_on_disks(
        nodes: usize,
        (replicas, disk_mib): (u8, u32),
        policies: &str,
    ) -> Self {
        Self::begin(nodes, (replicas, disk_mib), policies, "").await
    }

    /// The same as [`Cluster::start_replicated`], with more settings for all nodes, as in
    /// `node.toml`, such as where they speak other protocols.
    pub(crate) async fn start_with(
        nodes: usize,
        replicas: u8,
        policies: &str,
        settings: &str,
    ) -> Self {
        Self::begin(nodes, (replicas, 0), policies, settings).await
    }

    async fn begin(
        nodes: usize,
        (replicas, disk_mib): (u8, u32),
        policies: &str,
        settings: &str,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("limits.toml"), policies).unwrap();
        let level = std::env::var("RATELIMIT_TEST_LOG_LEVEL");
        let level = level.map_or_else(|_| String::new(), |level| format!("level = \"{level}\"\n"));
        std::fs::write(
            dir.path().join("node.toml"),
            format!("{SETTINGS}{level}{settings}"),
        )
        .unwrap();
        let authority = Authority::create("test").unwrap();
        let clients = dir.path().join("certs");
        authority.save(&clients, Existing::Refuse).unwrap();
        for role in [Role::Client, Role::Admin] {
            let issued = authority.issue(role, role.as_str(), &[]).unwrap();
            issued.save(&clients, Existing::Refuse).unwrap();
        }
        let mut cluster = Self {
            dir,
            authority,
            places: Vec::new(),
            replicas,
            disk_mib,
        };
        for _ in 0..nodes {
            cluster.add();
        }
        cluster.settled().await;
        cluster
    }

    /// Adds a node, which joins the others; returns its place. It serves, but has no slots yet.
    pub(crate) fn add(&mut self) -> usize {
        let number = u8::try_from(self.places.len() + 11).unwrap();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, number));
        // A port that is free now; nobody else takes ports of this address.
        let listen = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        let certs = self.certs(number);
        self.authority.save(&certs, Existing::Refuse).unwrap();
        let name = format!("node-{number}");
        let issued = self
            .authority
            .issue(Role::Node, &name, &[ip.to_string()])
            .unwrap();
        issued.save(&certs, Existing::Refuse).unwrap();
        let disk = (self.disk_mib > 0).then(|| Disk::mount(self.disk_mib));
        self.places.push(Place {
            number,
            listen,
            relay: Relay::bind(ip, listen),
            node: None,
            disk: disk.flatten(),
        });
        let place = self.places.len() - 1;
        self.spawn(place);
        self.node_mut(place).wait_serving();
        place
    }

    /// The command that starts a node.
    pub(crate) fn command(&self, place: usize) -> Command {
        let at = &self.places[place];
        let mut command = program("ratelimitd", env!("CARGO_BIN_EXE_ratelimitd"));
        command.arg("serve");
        command
            .arg("--config")
            .arg(self.dir.path().join("node.toml"));
        command.arg("--policies").arg(self.policies());
        command.arg("--data-dir").arg(self.data(place));
        command.arg("--certs").arg(self.certs(at.number));
        command.arg("--listen").arg(at.listen.to_string());
        command
            .arg("--advertise")
            .arg(self.address(place).to_string());
        let others: Vec<String> = (0..self.places.len())
            .filter(|&other| other != place)
            .map(|other| self.address(other).to_string())
            .collect();
        if others.is_empty() {
            command.arg("--create");
            command.arg("--replicas").arg(self.replicas.to_string());
        } else {
            command.arg("--join").arg(others.join(","));
        }
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Starts a node and does not wait for anything.
    pub(crate) fn spawn(&mut self, place: usize) {
        let node = Node::spawn(self.command(place), self.places[place].listen);
        self.places[place].node = Some(node);
    }

    /// Starts a node that had ended, and waits until it serves.
    pub(crate) fn restart(&mut self, place: usize) {
        self.spawn(place);
        self.node_mut(place).wait_serving();
    }

    /// `kill -9` of a node that is not asked any more, until it is started again.
    pub(crate) fn lose(&mut self, place: usize) {
        self.places[place].node = None;
    }

    /// A running node, to look at.
    pub(crate) fn node(&self, place: usize) -> &Node {
        self.places[place].node.as_ref().unwrap()
    }

    /// A running node.
    pub(crate) fn node_mut(&mut self, place: usize) -> &mut Node {
        self.places[place].node.as_mut().unwrap()
    }

    /// Where a node that is told to speaks HTTP, and gRPC.
    pub(crate) fn http(&self, place: usize) -> SocketAddr {
        self.spoken(place, "\"serving HTTP\"")
    }

    /// Where a node that is told to speaks the Redis protocol.
    pub(crate) fn resp(&self, place: usize) -> SocketAddr {
        self.spoken(place, "\"serving the Redis protocol\"")
    }

    fn spoken(&self, place: usize, words: &str) -> SocketAddr {
        let line = self.node(place).log().line(words).unwrap();
        field(&line, "address").parse().unwrap()
    }

    /// Where others reach a node.
    pub(crate) fn address(&self, place: usize) -> SocketAddr {
        self.places[place].relay.address()
    }

    /// Where a node's counts are.
    pub(crate) fn data(&self, place: usize) -> PathBuf {
        match self.disk(place) {
            Some(disk) => disk.path().join("data"),
            None => self.dir.path().join(format!("data-{place}")),
        }
    }

    /// A node's own disk, if it has one.
    pub(crate) fn disk(&self, place: usize) -> Option<&Disk> {
        self.places[place].disk.as_ref()
    }

    /// `kill -9` of a node, and nothing is left of its data directory.
    pub(crate) fn wipe(&mut self, place: usize) {
        self.lose(place);
        std::fs::remove_dir_all(self.data(place)).unwrap();
    }

    /// `ratelimitctl` with the admin's certificate, which asks the node at this place first; its exit
    /// code and what it said.
    pub(crate) fn ctl(&self, place: usize, args: &[&str]) -> (Option<i32>, String) {
        let mut command = program("ratelimitctl", env!("CARGO_BIN_EXE_ratelimitctl"));
        command
            .args(args)
            .arg("--certs")
            .arg(self.dir.path().join("certs"));
        command
            .arg("--endpoint")
            .arg(self.address(place).to_string());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// The places at which a node runs, or should.
    pub(crate) fn running(&self) -> Vec<usize> {
        let places = (0..self.places.len()).filter(|&place| self.places[place].node.is_some());
        places.collect()
    }

    /// The policy file of all nodes.
    pub(crate) fn policies(&self) -> PathBuf {
        self.dir.path().join("limits.toml")
    }

    fn certs(&self, number: u8) -> PathBuf {
        self.dir.path().join(format!("certs-{number}"))
    }

    fn ip(&self, place: usize) -> IpAddr {
        self.places[place].listen.ip()
    }

    /// Cuts the network between two nodes, in both directions.
    pub(crate) fn cut_between(&self, one: usize, other: usize) {
        for (at, far) in [(one, other), (other, one)] {
            let far = self.ip(far);
            self.places[at].relay.cut(&[Cut::From(far), Cut::To(far)]);
        }
    }

    /// Cuts a node off from all others, but not from clients.
    pub(crate) fn cut_off(&self, place: usize) {
        let others = (0..self.places.len()).filter(|&other| other != place);
        let mut cuts = Vec::new();
        for other in others {
            let far = self.ip(place);
            self.places[other]
                .relay
                .cut(&[Cut::From(far), Cut::To(far)]);
            let near = self.ip(other);
            cuts.extend([Cut::From(near), Cut::To(near)]);
        }
        self.places[place].relay.cut(&cuts);
    }

    /// Cuts a node off from clients, but not from other nodes.
    pub(crate) fn cut_clients_off(&self, place: usize) {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let cuts = [Cut::From(client), Cut::To(client)];
        self.places[place].relay.cut(&cuts);
    }

    /// Cuts a node off from all others, and from all clients.
    pub(crate) fn cut_off_from_all(&self, place: usize) {
        self.cut_off(place);
        self.places[place].relay.cut(&[Cut::All]);
    }

    /// Ends all cuts.
    pub(crate) fn mend(&self) {
        self.places.iter().for_each(|place| place.relay.cut(&[]));
    }

    /// Describes clients that know these nodes to begin with.
    pub(crate) fn client_of(&self, seeds: &[usize]) -> Builder {
        let seeds = seeds.iter().map(|&place| self.address(place));
        Client::builder()
            .seeds(seeds)
            .tls(self.credentials(Role::Client))
            .deadline(DEADLINE)
    }

    /// Describes clients that know all nodes.
    pub(crate) fn client(&self) -> Builder {
        let all: Vec<usize> = (0..self.places.len()).collect();
        self.client_of(&all)
    }

    /// An admin of one node.
    pub(crate) async fn admin(&self, place: usize) -> Admin {
        self.admin_at(self.address(place)).await
    }

    /// An admin of one node who reaches it whatever is cut.
    pub(crate) async fn admin_behind(&self, place: usize) -> Admin {
        self.admin_at(self.places[place].listen).await
    }

    async fn admin_at(&self, address: SocketAddr) -> Admin {
        let builder = Client::builder()
            .seeds([address])
            .tls(self.credentials(Role::Admin));
        builder.deadline(PATIENCE).connect_admin().await.unwrap()
    }

    fn credentials(&self, role: Role) -> Credentials {
        Credentials::load(&self.dir.path().join("certs"), role).unwrap()
    }
}

/// A program of this project: the one that was built with the tests, unless `RATELIMIT_TEST_BINARIES`
/// names a directory with others, such as faster ones.
fn program(name: &str, built: &str) -> Command {
    match std::env::var_os("RATELIMIT_TEST_BINARIES") {
        Some(dir) => Command::new(PathBuf::from(dir).join(name)),
        None => Command::new(built),
    }
}
