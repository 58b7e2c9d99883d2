//! Clusters in which nothing changes.

use super::{
    answered, judge, limits_were_felt, load, no_errors, nothing_forgotten, policies, random,
};
use crate::support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_holds_every_limit() {
    let mut random = random("a_cluster_of_three");
    let cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 8_000).await;
    let seen = judge(load).await;
    no_errors(&seen);
    limits_were_felt(&seen);
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_different_nodes_share_one_count() {
    let cluster = Cluster::start(3, &policies()).await;
    let mut granted = 0;
    let mut clients = Vec::new();
    for place in 0..3 {
        clients.push(cluster.client_of(&[place]).connect().await.unwrap());
    }
    for round in 0..500 {
        let decision = clients[round % 3].check("long", "shared").await.unwrap();
        granted += u64::from(decision.allowed);
    }
    assert_eq!(granted, 400);
}
