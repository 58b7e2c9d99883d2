//! What the network costs on loopback, and what the limiter adds to it. `cargo bench --bench
//! loopback` prints two tables:
//!
//! - **one at a time**: the median of a check's round trip beside that of a bare `quinn` echo of as
//!   many bytes, in turns, so that both have the same machine;
//! - **echo**: how many messages of that size a bare echo carries when 800 are in flight, to one
//!   server over 50 connections, and to three, each message to one of them at random. What three
//!   carry against one is what any limiter of three nodes could reach at best, since a packet holds
//!   messages of one connection only.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod echo;
mod load;

use distributed_rate_limiter::client::Client;
use distributed_rate_limiter::limiter::policy::{Durability, Limit, Policy, PolicySet};
use distributed_rate_limiter::node::clock::mono_now;
use distributed_rate_limiter::testing::Server;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use load::Layout;

/// Turns of the first table; in each, every row is asked [`ASKED`] times.
const TURNS: usize = 40;

/// Round trips of a row in each turn.
const ASKED: usize = 250;

/// Turns of the second table.
const LOADS: usize = 5;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn now_ns() -> u64 {
    mono_now().as_ns()
}

/// A row of the first table.
struct Row {
    name: String,
    ask: Box<dyn FnMut()>,
    took_ns: Vec<u64>,
}

impl Row {
    fn new(name: impl Into<String>, ask: impl FnMut() + 'static) -> Self {
        Self {
            name: name.into(),
            ask: Box::new(ask),
            took_ns: Vec::new(),
        }
    }

    fn turn(&mut self) {
        for _ in 0..ASKED {
            let began_ns = now_ns();
            (self.ask)();
            self.took_ns.push(now_ns() - began_ns);
        }
    }
}

/// A node with one policy of this durability, a directory for it, and a client of one connection.
fn node(durability: Durability, asking: &Runtime) -> (TempDir, Server, Client) {
    let limit: Limit = "1000000000/min".parse().expect("a limit");
    let policy = Policy {
        durability,
        ..Policy::new(limit)
    };
    let mut set = PolicySet::default();
    set.policies.insert("api".to_owned(), policy);
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_with(&set, |options| {
        options.data_dir = Some(directory.path().join("node"));
        options.create = true;
    });
    let server = server.expect("a server");
    let connected = asking.block_on(server.client().connections(1).connect());
    (directory, server, connected.expect("a connection"))
}

fn rows() -> Vec<Row> {
    let client = runtime();
    let address = echo::serve();
    let (mut line, mut bytes) = (client.block_on(echo::connect(address)), [7; echo::BYTES]);
    let bare = move || {
        client.block_on(async {
            line.send.write_all(&bytes).await.expect("sent");
            line.receive.read_exact(&mut bytes).await.expect("echoed");
        });
    };
    let mut rows = vec![Row::new("bare echo", bare)];
    for durability in [Durability::None, Durability::Process] {
        let asking = runtime();
        let (directory, server, client) = node(durability, &asking);
        let check = move || {
            let _alive = (&directory, &server);
            let check = async { client.check("api", "user-42").await };
            asking.block_on(check).expect("a decision");
        };
        rows.push(Row::new(format!("check, {}", durability.as_str()), check));
    }
    rows
}

fn one_at_a_time(turns: usize) {
    let mut rows = rows();
    for _ in 0..turns {
        rows.iter_mut().for_each(Row::turn);
    }
    println!(
        "one at a time, p50 of {} each   µs   times the echo",
        turns * ASKED
    );
    let mut bare_ns = None;
    for row in &mut rows {
        let p50_ns = median(&mut row.took_ns);
        let bare_ns = *bare_ns.get_or_insert(p50_ns);
        let (us, times) = (tenths(p50_ns, 1000), hundredths(p50_ns, bare_ns));
        println!("{:32} {us:>6} {times:>8}", row.name);
    }
}

fn echoes(turns: usize, time_ms: u64) {
    let layouts = [
        Layout::one_server(50, 16),
        Layout::three_servers(50, 16),
        Layout::three_servers(17, 47),
    ];
    let mut rates = layouts.map(|_| Vec::new());
    for _ in 0..turns {
        for (layout, rates) in layouts.iter().zip(&mut rates) {
            rates.push(layout.messages_per_second(time_ms));
        }
    }
    println!("echo, 800 messages in flight     messages/s   times one server");
    let mut one = None;
    for (layout, rates) in layouts.iter().zip(&mut rates) {
        let rate = median(rates);
        let times = hundredths(rate, *one.get_or_insert(rate));
        println!("{:32} {rate:>8} {times:>8}", layout.to_string());
    }
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

/// `a` by `b` with one digit behind the point.
fn tenths(a: u64, b: u64) -> String {
    let tenths = a * 10 / b.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `a` by `b` with two digits behind the point.
fn hundredths(a: u64, b: u64) -> String {
    let hundredths = a * 100 / b.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn main() {
    // `cargo test --benches` only wants to see that it runs.
    let measures = std::env::args().any(|argument| argument == "--bench");
    one_at_a_time(if measures { TURNS } else { 1 });
    let (turns, time_ms) = if measures { (LOADS, 1000) } else { (1, 10) };
    echoes(turns, time_ms);
}
