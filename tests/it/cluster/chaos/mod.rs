//! One fault after the other on five nodes whose slots are on three each, under load: a node is killed,
//! stopped, cut off, wiped, or its disk is full. Judged by what clients saw: nothing above a limit,
//! nothing granted and forgotten, and errors only while a fault is new.
//!
//! With `RATELIMIT_CHAOS_SECONDS` it goes on for so long, with a fault every 20 s; without, each fault but a wipe
//! comes once, and lasts no longer than it takes the others to serve all slots again.

mod budget;
mod driver;
mod faults;

use std::time::Duration;

use distributed_rate_limiter::client::Client;
use rand::Rng;

use super::random;
use crate::support::{Cluster, Load, Mix, Seen};
use budget::Budget;
use driver::{Chaos, Length};

/// Nodes of the cluster.
const NODES: usize = 5;

/// Each node's own disk.
const DISK_MIB: u32 = 256;

/// Clients, each with connections of its own.
const CLIENTS: u64 = 6;

/// Keys under each policy, and those among them that are asked for half of the time.
const KEYS: u32 = 300;
const HOT: u32 = 6;

/// Policies whose windows pass many times in a run, and two whose windows are longer than any run: one
/// whose limit is reached, and one that counts on and on.
const POLICIES: [(&str, &str); 4] = [
    ("short", "8/1s"),
    ("middle", "30/4s"),
    ("long", "300/1day"),
    ("count", "1000000/1day"),
];

/// Those of which every permit still counts at the end.
const REMEMBERED: [&str; 2] = ["long", "count"];

fn policies() -> String {
    POLICIES
        .map(|(name, limit)| format!("[policy.{name}]\nlimit = \"{limit}\"\n"))
        .concat()
}

fn mix() -> Mix {
    Mix {
        policies: &["short", "middle", "long", "count"],
        keys: KEYS,
        hot: HOT,
        tasks: CLIENTS * 2,
        pause: Duration::from_millis(40),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_costs_no_count_and_no_error_but_while_a_fault_is_new() {
    let mut random = random("chaos_costs_no_count");
    let length = Length::from_env();
    let cluster = Cluster::start_on_disks(NODES, (3, DISK_MIB), &policies()).await;
    cluster.in_sync().await;
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..CLIENTS {
        let client = cluster.client().denial_cache(0);
        clients.push(client.connect().await.unwrap());
    }
    let load = Load::start_with(&clients, &mix(), random.random());
    let mut chaos = Chaos::new(cluster, clients, load);
    chaos.run(&mut random, length).await;
    let (seen, episodes) = chaos.end().await;
    let budget = Budget::of(&seen, &episodes);
    println!("{budget}");
    let judged = judge(&seen);
    println!("{judged} keys judged: none above its limit");
    budget.is_kept();
}

/// No true window holds more than its limit, and the load was enough to find one that does. Returns of
/// how many keys.
fn judge(seen: &Seen) -> usize {
    assert!(
        seen.grants().count() > 500 && seen.denied > 500,
        "too little happened"
    );
    for ((policy, key), granted) in &seen.granted {
        let (_, limit) = POLICIES.iter().find(|(name, _)| name == policy).unwrap();
        super::within_limit(policy, key, limit, granted);
    }
    seen.granted.len()
}
