//! Clusters whose slots are on three nodes each: losing one loses no count and stops no key.

use std::time::Duration;

use distributed_rate_limiter::Source;
use distributed_rate_limiter::client::{Client, NodeCommand, ResendLost};
use tokio::time::sleep;

use super::{answered, judge, load, no_errors, nothing_forgotten, policies, random};
use crate::support::{Cluster, Load, PATIENCE, now_ns, write_until_noticed};

/// A cluster whose slots are all on three nodes in sync.
async fn replicated(nodes: usize) -> Cluster {
    let cluster = Cluster::start_replicated(nodes, 3, &policies()).await;
    cluster.in_sync().await;
    cluster
}

/// Lets the load go on until every key that is asked for is decided again, and tells how long it took.
async fn served_again(client: &Client, load: &Load, since_ns: u64) {
    for policy in ["short", "middle", "long"] {
        for key in 0..12 {
            let key = format!("key-{key}");
            // Denied or granted: the owner, or who has taken over, has decided.
            while client.check(policy, &key).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    println!(
        "all keys decided after {} ms",
        (now_ns() - since_ns) / 1_000_000
    );
    answered(load, 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_a_killed_node_are_served_by_others_with_all_counts() {
    let mut random = random("the_keys_of_a_killed_node");
    let mut cluster = replicated(4).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    for place in [1, 0] {
        cluster.lose(place);
        served_again(&client, &load, now_ns()).await;
        cluster.restart(place);
        cluster.settled().await;
        cluster.in_sync().await;
    }
    cluster.lose(2);
    served_again(&client, &load, now_ns()).await;
    // While the third one is away.
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_stands_still_is_replaced_and_grants_nothing_when_it_wakes() {
    let mut random = random("an_owner_is_replaced");
    let mut cluster = replicated(3).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    cluster.node_mut(1).signal("STOP");
    served_again(&client, &load, now_ns()).await;
    cluster.node_mut(1).signal("CONT");
    cluster.settled().await;
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_replaced_and_grants_nothing_alone() {
    let mut random = random("a_node_that_is_cut_off");
    let cluster = replicated(4).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_500).await;
    cluster.cut_off(2);
    answered(&load, 4_000).await;
    cluster.mend();
    cluster.settled().await;
    answered(&load, 1_500).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_cannot_reach_an_owner_is_served_by_it_through_the_replicas() {
    let cluster = replicated(3).await;
    let cut_off = cluster.admin(1).await.ring().await.unwrap().node;
    let admin = cluster.admin(0).await;
    let mut keys = Vec::new();
    for n in 0..60 {
        let key = format!("key-{n}");
        if admin.owner(&key).await.unwrap().owner == cut_off {
            keys.push(key);
        }
    }
    let builder = cluster.client_of(&[0]).resend_lost(ResendLost::Never);
    let client = builder.connect().await.unwrap();
    let key = &keys[0];
    while client.check("long", key).await.unwrap().source != Source::Owner {}
    cluster.cut_clients_off(1);
    // It is on its way to nowhere when another node is asked.
    let peeked = client.peek("long", key).await.unwrap();
    assert_eq!(peeked.source, Source::Proxied);
    // What was sent before the silence was noticed is lost; from then on nothing is.
    while client.check("long", key).await.is_err() {}
    for key in &keys {
        let decision = client.check("long", key).await.unwrap();
        assert_eq!((decision.allowed, decision.source), (true, Source::Proxied));
        let owner = admin.owner(key).await.unwrap().owner;
        assert_eq!(owner, cut_off, "the owner is well, and still the owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_node_that_is_cut_off_is_led_to_those_that_serve() {
    let cluster = replicated(4).await;
    // It hears of owners from that node alone.
    let client = cluster.client_of(&[2]).denial_cache(0);
    let client = client.connect().await.unwrap();
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        client.check("long", key).await.unwrap();
    }
    cluster.cut_off(2);
    decided_by_owners(&client, &keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_a_node_whose_disk_is_full_are_served_by_others_with_all_counts() {
    let mut random = random("the_keys_of_a_node_whose_disk_is_full");
    let mut cluster = Cluster::start_on_disks(4, (3, 64), &policies()).await;
    cluster.in_sync().await;
    if cluster.disk(1).is_none() {
        return;
    }
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 1_000).await;
    cluster.disk(1).unwrap().fill(0);
    write_until_noticed(&cluster, 1, &client, "short").await;
    let keys: Vec<String> = (0..12).map(|n| format!("key-{n}")).collect();
    decided_by_owners(&client, &keys).await;
    // It has gone, so that it is not taken for well, and comes back when there is room.
    assert_eq!(cluster.node_mut(1).wait(), Some(1));
    cluster.disk(1).unwrap().make_room();
    cluster.restart(1);
    cluster.settled().await;
    cluster.in_sync().await;
    answered(&load, 1_000).await;
    let seen = judge(load).await;
    nothing_forgotten(&client, &seen).await;
}

/// Waits until all keys are decided by who knows their counts.
async fn decided_by_owners(client: &Client, keys: &[String]) {
    let given_up = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    for key in keys {
        loop {
            let answer = client.check("long", key).await;
            if answer.as_ref().is_ok_and(|it| !it.is_degraded()) {
                break;
            }
            assert!(now_ns() < given_up, "{key}: {answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_restart_of_every_node_costs_no_error_and_no_count() {
    let mut random = random("a_planned_restart");
    let mut cluster = replicated(3).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    for place in 0..3 {
        answered(&load, 1_000).await;
        cluster.node_mut(place).stop();
        cluster.restart(place);
        cluster.settled().await;
        cluster.in_sync().await;
    }
    answered(&load, 1_000).await;
    let seen = judge(load).await;
    no_errors(&seen);
    nothing_forgotten(&client, &seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_three_lost_nothing_is_granted_and_with_one_back_nothing_is_forgotten() {
    let mut random = random("with_two_of_three_lost");
    let mut cluster = replicated(3).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    answered(&load, 3_000).await;
    let seen = judge(load).await;
    cluster.lose(1);
    cluster.lose(2);
    let survivor = cluster.client_of(&[0]).deadline(Duration::from_secs(1));
    let survivor = survivor.connect().await.unwrap();
    // Grants that were under way when the majority was lost are over by then.
    sleep(Duration::from_secs(2)).await;
    let mut denied = 0;
    for n in 0..60 {
        match survivor.check("long", &format!("key-{}", n % 12)).await {
            Ok(decision) => {
                assert!(
                    !decision.allowed,
                    "granted without a majority: {decision:?}"
                );
                denied += 1;
            }
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
    }
    println!("{denied} of 60 denied, the others not decided");
    cluster.restart(1);
    served_by_two(&client).await;
    nothing_forgotten(&client, &seen).await;
}

/// Waits until keys are granted again.
async fn served_by_two(client: &Client) {
    for key in 0..200 {
        let key = format!("new-{key}");
        while !client
            .check("long", &key)
            .await
            .is_ok_and(|decision| decision.allowed)
        {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_made_and_given_up_under_load_without_an_error() {
    let mut random = random("replicas_are_made");
    let cluster = Cluster::start(3, &policies()).await;
    let client = cluster.client().connect().await.unwrap();
    let load = load(&client, &mut random);
    for replicas in [3, 1, 3] {
        answered(&load, 1_000).await;
        let admin = cluster.admin(0).await;
        admin.node(NodeCommand::Replicas(replicas)).await.unwrap();
        answered(&load, 500).await;
        cluster.settled().await;
    }
    cluster.in_sync().await;
    answered(&load, 1_000).await;
    let seen = judge(load).await;
    no_errors(&seen);
    nothing_forgotten(&client, &seen).await;
}
