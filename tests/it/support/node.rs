//! A real `ratelimitd`, from its start to its end.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::log::{Log, field};
use super::{PATIENCE, eventually};

/// A running node, or one that has ended. Dropped, it is killed, and its log shown if the test
/// fails.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Node {
    pub(super) fn spawn(mut command: Command, listen: SocketAddr) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        Self {
            child,
            address: listen,
            log,
        }
    }

    /// Runs `ratelimitd` as `command` says, and waits until it serves.
    pub(crate) fn start(command: Command) -> Self {
        let mut node = Self::spawn(command, SocketAddr::from(([127, 0, 0, 1], 0)));
        node.wait_serving();
        node
    }

    /// Waits until it serves, and learns its address.
    pub(crate) fn wait_serving(&mut self) {
        let Some(line) = self.log.line("\"serving\"") else {
            unreachable!("the node ended before it served:\n{}", self.log.so_far());
        };
        self.address = field(&line, "address").parse().unwrap();
    }

    /// Where it listens, once it serves.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has said.
    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id();
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {pid}"))
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended by itself; its exit code, absent if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut ended: Option<ExitStatus> = None;
        eventually(&format!("the node ends within {PATIENCE:?}"), || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.and_then(|status| status.code())
    }

    /// SIGTERM, and waits for the end; it must be a good one.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0), "{}", self.log.so_far());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            println!(
                "log of the node at {}:\n{}",
                self.address,
                self.log.so_far()
            );
        } else {
            let log = self.log.so_far();
            assert!(!log.contains("panicked"), "the node panicked:\n{log}");
        }
    }
}
