//! Clusters whose nodes cannot always see each other, or stand still.

use std::time::Duration;

use distributed_rate_limiter::client::Routing;
use tokio::time::sleep;

use super::{answered, judge, load, nothing_forgotten, policies, random};
use crate::support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_two_nodes_lets_nothing_extra_through() {
    let mut random = random("a_cut_between_two");
    let cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    cluster.cut_between(0, 1);
    answered(&load, 3_000).await;
    cluster.mend();
    cluster.settled().await;
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_all_serves_its_own_slots_and_nothing_extra() {
    let mut random = random("a_node_cut_off");
    let mut cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    cluster.cut_off(2);
    answered(&load, 3_000).await;
    // A node that joins meanwhile wants slots of the one that cannot be seen, too.
    cluster.add();
    answered(&load, 1_500).await;
    cluster.mend();
    cluster.settled().await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_stands_still_for_twenty_seconds_goes_on_with_its_counts() {
    let mut random = random("an_owner_that_stands_still");
    let mut cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    cluster.node_mut(1).signal("STOP");
    // This is what is tested, not a wait for something: the owner is away for so long.
    sleep(Duration::from_secs(20)).await;
    cluster.node_mut(1).signal("CONT");
    cluster.settled().await;
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_reach_no_owner_are_served_by_the_others() {
    let mut random = random("clients_that_reach_no_owner");
    let cluster = Cluster::start(3, &policies()).await;
    // Every check goes to a node that must pass it on.
    let client = cluster.client().routing(Routing::Others);
    let client = client.connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 4_000).await;
    let seen = judge(load).await;
    super::no_errors(&seen);
    nothing_forgotten(&client, &seen).await;
}
