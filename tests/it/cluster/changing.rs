//! Clusters whose nodes come, go, and are replaced one after the other.

use distributed_rate_limiter::client::NodeCommand;

use super::{
    answered, judge, limits_were_felt, load, no_errors, nothing_forgotten, policies, random,
};
use crate::support::{Cluster, PATIENCE, now_ns};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_and_a_drain_cost_no_error_and_no_count() {
    let mut random = random("a_join_and_a_drain");
    let mut cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 2_000).await;
    cluster.add();
    cluster.settled().await;
    answered(&load, 2_000).await;
    cluster
        .admin(0)
        .await
        .node(NodeCommand::Drain)
        .await
        .unwrap();
    drained(&cluster, 0).await;
    answered(&load, 2_000).await;
    let seen = judge(load).await;
    no_errors(&seen);
    limits_were_felt(&seen);
    nothing_forgotten(&client, &seen).await;
    tell_seals(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_by_sigterm_costs_no_error_and_no_count() {
    let mut random = random("a_rolling_restart_by_sigterm");
    let mut cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    for place in 0..3 {
        answered(&load, 1_500).await;
        tell_seals(&cluster).await;
        cluster.node_mut(place).stop();
        cluster.restart(place);
        cluster.settled().await;
    }
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    no_errors(&seen);
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_kill_of_every_node_lets_nothing_extra_through() {
    let mut random = random("a_rolling_kill");
    let mut cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    for place in [0, 1, 2, 0] {
        answered(&load, 1_500).await;
        cluster.node_mut(place).kill();
        cluster.restart(place);
        cluster.settled().await;
    }
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

/// Prints how long slots that moved were sealed.
pub(super) async fn tell_seals(cluster: &Cluster) {
    for (place, status) in cluster.statuses().await {
        println!(
            "node {place}: {} slots sealed, the longest for {} ms",
            status.seals, status.seal_longest_ms
        );
    }
}

/// Waits until a node owns nothing.
pub(super) async fn drained(cluster: &Cluster, place: usize) {
    let admin = cluster.admin(place).await;
    let given_up = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    loop {
        let view = admin.ring().await.unwrap();
        if view.load.slots == 0 {
            return;
        }
        assert!(now_ns() < given_up, "the node never drained: {view:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
