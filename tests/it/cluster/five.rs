//! Clusters of five: how soon everybody knows what has happened. The promises are printed beside what
//! was measured; how long a busy machine takes is not judged.

use std::time::Duration;

use distributed_rate_limiter::client::{Admin, Client, NodeCommand, Ring};
use distributed_rate_limiter::{Decision, Source};
use tokio::time::sleep;

use super::changing::{drained, tell_seals};
use super::{answered, judge, load, no_errors, nothing_forgotten, policies, random};
use crate::support::{Cluster, PATIENCE, is_settled, now_ns};

/// All nodes and clients agree on owners so soon after the last hand-off.
const AGREED: Duration = Duration::from_secs(2);

/// A node that was killed is known to be so by all so soon.
const KNOWN_DOWN: Duration = Duration::from_secs(10);

/// Keys that a client is tried with: all nodes own some of their slots.
const KEYS: u32 = 96;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_and_their_clients_agree_after_every_planned_change() {
    let mut random = random("five_nodes_and_their_clients_agree");
    let mut cluster = Cluster::start(4, &policies()).await;
    let client = cluster.client().denial_cache(0).connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_000).await;
    let fifth = cluster.add();
    agreed("a fifth node joined", &cluster, &client).await;
    answered(&load, 1_000).await;
    let admin = cluster.admin(1).await;
    admin.node(NodeCommand::Drain).await.unwrap();
    drained(&cluster, 1).await;
    answered(&load, 1_000).await;
    admin.node(NodeCommand::Resume).await.unwrap();
    agreed("a node drained and came back", &cluster, &client).await;
    for place in 0..=fifth {
        answered(&load, 500).await;
        cluster.node_mut(place).stop();
        cluster.restart(place);
        let what = format!("node {place} stopped and started again");
        agreed(&what, &cluster, &client).await;
    }
    tell_seals(&cluster).await;
    let seen = judge(load).await;
    no_errors(&seen);
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_know_that_one_was_killed_and_that_it_is_back() {
    let mut cluster = Cluster::start(5, &policies()).await;
    let lost = cluster.admin(2).await.ring().await.unwrap().node;
    cluster.lose(2);
    let since = now_ns();
    let admins = cluster.admins().await;
    let all = |views: &[Ring]| views.iter().all(|view| state_of(view, lost) == "down");
    until("all know that the node is down", &admins, all).await;
    told("a killed node was known to all", since, KNOWN_DOWN);
    cluster.restart(2);
    let since = now_ns();
    cluster.settled().await;
    told("a node that is back was known to all", since, KNOWN_DOWN);
}

/// Waits until all nodes name the same owners, as the ring says, and the client asks them directly;
/// prints how long that took from the last hand-off on.
async fn agreed(what: &str, cluster: &Cluster, client: &Client) {
    let admins = cluster.admins().await;
    let mut last_move = now_ns();
    let settled = |views: &[Ring]| {
        if views.iter().any(|view| !view.hand_offs.is_empty()) {
            last_move = now_ns();
        }
        is_settled(views)
    };
    until(what, &admins, settled).await;
    told(&format!("{what}: all nodes agreed"), last_move, AGREED);
    let given_up = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    while !asks_owners(client).await {
        assert!(now_ns() < given_up, "{what}: the client never agreed");
    }
    told(&format!("{what}: the client agreed"), last_move, AGREED);
}

/// Whether every key is asked of its owner.
async fn asks_owners(client: &Client) -> bool {
    let mut direct = true;
    for n in 0..KEYS {
        let key = format!("try-{n}");
        let decision: Decision = client.peek("long", &key).await.unwrap();
        direct &= decision.source == Source::Owner;
    }
    direct
}

/// Looks at all nodes until `holds`.
async fn until(what: &str, admins: &[Admin], mut holds: impl FnMut(&[Ring]) -> bool) {
    let given_up = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    loop {
        let mut views = Vec::new();
        for admin in admins {
            views.push(admin.ring().await.unwrap());
        }
        if holds(&views) {
            return;
        }
        assert!(now_ns() < given_up, "never: {what}\n{views:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn state_of(view: &Ring, node: u128) -> &str {
    let node = view.nodes.iter().find(|it| it.node == node);
    node.map_or("unknown", |node| &node.state)
}

fn told(what: &str, since_ns: u64, promised: Duration) {
    let took = Duration::from_nanos(now_ns() - since_ns);
    let word = if took <= promised { "kept" } else { "LATE" };
    println!("{what} after {took:.1?}; promised {promised:?}: {word}");
}
