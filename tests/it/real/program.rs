//! Programs that `tools/real` has installed, run to their end or as long as a test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::asking;
use crate::support::{Log, eventually};

/// A program by its path in `target/real`.
pub(super) fn installed(path: &str) -> Command {
    let at = place(path);
    assert!(
        at.exists(),
        "there is no {}; install it with tools/real",
        at.display()
    );
    let mut command = Command::new(at);
    command.stdin(Stdio::null());
    command
}

fn place(path: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    top.join("target/real").join(path)
}

/// A file of this directory.
pub(super) fn beside(path: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    top.join("tests/it/real").join(path)
}

/// The lines in this language that the README shows, which are once there.
pub(super) fn snippet(language: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let begin = format!("\n```{language}\n");
    let mut parts = readme.split(&begin).skip(1);
    let part = parts.next().unwrap();
    assert!(parts.next().is_none(), "several parts are {language}");
    part.split("\n```").next().unwrap().to_owned()
}

/// Runs a program to its end, which must be a good one; all that it said.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{said}",
        output.status
    );
    said
}

/// An address that nobody else uses, for a program that cannot choose one: `number` is the last of
/// the loopback address, each test's own.
pub(super) fn free(number: u8) -> SocketAddr {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A program that runs as long as the test. Dropped, it is killed, and its log shown if the test
/// fails.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: Log,
}

impl Running {
    /// Starts a program and waits until it answers HTTP there.
    pub(super) fn start(command: &mut Command, at: SocketAddr, path: &str) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let mut running = Self { child, log };
        eventually("the program answers", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} has ended: {ended:?}");
            asking::answers(at, path)
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            println!("log of the program:\n{}", self.log.so_far());
        }
    }
}
