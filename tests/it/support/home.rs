//! A home of nodes: policies, settings and a data directory, all gone at the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use distributed_rate_limiter::client::{Admin, Builder, Client};
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::tls::Credentials;
use tempfile::TempDir;

use super::node::Node;

/// Checkpoints every second, so that even short lives see some; else the defaults.
const SETTINGS: &str = "\
[storage]
checkpoint_interval = \"1s\"
[log]
format = \"json\"
";

/// The directory in which nodes run, one at a time.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    data: PathBuf,
}

impl Home {
    /// A home with these policies, written as in `limits.toml`.
    pub(crate) fn new(policies: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let home = Self { dir, data };
        std::fs::write(home.policies(), policies).unwrap();
        std::fs::write(home.settings(), SETTINGS).unwrap();
        home
    }

    /// The same, with its counts in another directory.
    pub(crate) fn with_data(policies: &str, data: &Path) -> Self {
        let data = data.to_owned();
        Self {
            data,
            ..Self::new(policies)
        }
    }

    /// Where the counts are.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The policy file.
    pub(crate) fn policies(&self) -> PathBuf {
        self.dir.path().join("limits.toml")
    }

    /// The node's settings.
    fn settings(&self) -> PathBuf {
        self.dir.path().join("node.toml")
    }

    /// Replaces the node's settings.
    pub(crate) fn set(&self, settings: &str) {
        std::fs::write(self.settings(), settings).unwrap();
    }

    /// Certificates, beside the data directory so that they outlive its damage.
    fn certs(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    /// `ratelimitd serve` in this home.
    pub(crate) fn command(&self, listen: SocketAddr) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimitd"));
        command.arg("serve").arg("--create");
        command.arg("--config").arg(self.settings());
        command.arg("--policies").arg(self.policies());
        command.arg("--data-dir").arg(&self.data);
        command.arg("--certs").arg(self.certs());
        command.arg("--listen").arg(listen.to_string());
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Starts a node on a free port and waits until it serves.
    pub(crate) fn start(&self) -> Node {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts a node at the address of one that has ended, and waits until it serves.
    pub(crate) fn start_at(&self, listen: SocketAddr) -> Node {
        let mut node = self.spawn(listen);
        node.wait_serving();
        node
    }

    /// Starts a node and does not wait for anything.
    pub(crate) fn spawn(&self, listen: SocketAddr) -> Node {
        Node::spawn(self.command(listen), listen)
    }

    /// A start that is to fail: its exit code and what it said.
    pub(crate) fn refused(&self) -> (Option<i32>, String) {
        let mut node = self.spawn(SocketAddr::from(([127, 0, 0, 1], 0)));
        let code = node.wait();
        (code, node.log().whole())
    }

    fn credentials(&self, role: Role) -> Credentials {
        Credentials::load(&self.certs(), role).unwrap()
    }

    /// Describes clients of the node.
    pub(crate) fn client(&self, node: &Node) -> Builder {
        let address = node.address();
        Client::builder()
            .seeds([address])
            .tls(self.credentials(Role::Client))
            // What is tested is the node, so every check is asked.
            .denial_cache(0)
    }

    /// An admin of the node.
    pub(crate) async fn admin(&self, node: &Node) -> Admin {
        let address = node.address();
        let builder = Client::builder()
            .seeds([address])
            .tls(self.credentials(Role::Admin));
        builder
            .deadline(super::PATIENCE)
            .connect_admin()
            .await
            .unwrap()
    }
}
