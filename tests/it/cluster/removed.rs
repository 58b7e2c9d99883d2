//! A node that was removed and comes back.

use distributed_rate_limiter::Source;
use distributed_rate_limiter::client::{NodeCommand, Routing};

use super::{eventually_async, policies};
use crate::support::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_grants_nothing_once_it_hears_of_it() {
    let mut cluster = Cluster::start(3, &policies()).await;
    let gone = cluster.admin(2).await.ring().await.unwrap().node;
    cluster.lose(2);
    let admin = cluster.admin(0).await;
    // It is not removed while the node that is asked is connected to it.
    loop {
        let remove = NodeCommand::Remove { node: gone };
        admin.node(remove).await.unwrap();
        let ring = admin.ring().await.unwrap();
        let state = ring.nodes.iter().find(|node| node.node == gone);
        if state.is_some_and(|node| node.state == "removed") {
            break;
        }
    }
    cluster.settled().await;

    // As long as it reaches nobody, it serves what was its own: the operator vouched that it is gone.
    cluster.cut_off(2);
    cluster.restart(2);
    let client = cluster.client_of(&[2]).denial_cache(0);
    // Nobody else is asked.
    let client = client.routing(Routing::Seeds).connect().await.unwrap();
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    let mut own = Vec::new();
    for key in &keys {
        if let Ok(decision) = client.check("long", key).await
            && decision.source == Source::Owner
        {
            own.push(key);
        }
    }
    assert!(!own.is_empty(), "none of the keys was its own");

    cluster.mend();
    let shut_out = "the cluster has shut this node out";
    let log = || cluster.node(2).log().so_far();
    eventually_async("it is told", || log().contains(shut_out)).await;
    for key in own {
        // As `on_failure` says: nobody who knows the counts can be asked.
        let answer = client.check("long", key).await.unwrap();
        assert!(answer.is_degraded() && !answer.allowed, "{key}: {answer:?}");
    }
    let status = cluster.admin(2).await.status().await.unwrap();
    assert!(
        status
            .shut_out
            .contains("was removed from the cluster; stop it"),
        "{status:?}"
    );

    // It remembers, and does not even start again.
    cluster.lose(2);
    cluster.spawn(2);
    let node = cluster.node_mut(2);
    assert_eq!(node.wait(), Some(1), "{}", node.log().so_far());
    eventually("it says why", || {
        node.log()
            .so_far()
            .contains("was removed from the cluster; stop it")
    });
    cluster.lose(2);
    cluster.settled().await;
}
