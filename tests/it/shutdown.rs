//! A node that is told to stop: what it answered is kept, and it is soon gone.

use std::time::Duration;

use distributed_rate_limiter::limiter::policy::Limit;

use crate::support::{Home, Load, Mix, PATIENCE, eventually, windows_above};

/// Policies that fill up soon, and whose windows are longer than a restart takes.
const POLICIES: &str = "\
[policy.process]
limit = \"300/20s\"
durability = \"process\"
[policy.fsync]
limit = \"300/20s\"
durability = \"fsync\"
";

/// One client hangs: it may not hold the stop up.
const LONG_DRAIN: &str = "\
[server]
drain_timeout = \"1hour\"
[log]
format = \"json\"
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_allowed_before_a_stop_under_load_counts_after_it() {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    let client = home
        .client(&node)
        .deadline(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    let policies = &["process", "fsync"];
    let mix = Mix {
        policies,
        keys: 4,
        hot: 0,
        tasks: 16,
        pause: Duration::from_millis(1),
    };
    let load = Load::start(&client, &mix, 7);
    let limit: Limit = "300/20s".parse().unwrap();
    for stops in 1..=3 {
        let before = load.answers();
        eventually("the node answers", || load.answers() > before + 150);
        node.stop();
        let log = node.log().whole();
        assert!(log.contains("stopped; all counts are synced"), "{log}");
        assert!(
            !log.contains("cut off") && !log.contains("\"ERROR\""),
            "stop {stops}: {log}"
        );
        node = home.start_at(node.address());
        let line = node.log().line("counts recovered").unwrap();
        assert!(line.contains("\"unclean\":false"), "{line}");
    }
    let before = load.answers();
    eventually("every key is used up", || load.answers() > before + 2500);
    let seen = load.stop().await;
    println!(
        "{} granted, {} denied, {} failed",
        seen.grants().count(),
        seen.denied,
        seen.failed
    );
    assert_eq!(seen.granted.len(), 8);
    for (state, granted) in &seen.granted {
        assert_eq!(
            windows_above(granted, limit.window_ms() * 1_000_000, limit.permits()),
            []
        );
        let permits: u64 = granted.iter().map(|granted| granted.cost).sum();
        assert!(
            permits >= 250,
            "{state:?} was granted {permits}: too little happened"
        );
    }
    assert!(seen.denied > 500, "{} denied", seen.denied);
}

#[test]
fn a_client_that_hangs_does_not_hold_a_stop_up() {
    let home = Home::new(POLICIES);
    home.set(LONG_DRAIN);
    let mut node = home.start();
    // On a runtime of its own that nothing drives once it is connected.
    let frozen = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connect = home.client(&node).deadline(PATIENCE).connect();
    let client = frozen.block_on(connect).unwrap();
    frozen
        .block_on(async { client.check("process", "user-7").await })
        .unwrap();
    node.stop();
}

#[test]
fn a_signal_that_comes_while_the_node_starts_is_heard_once_it_serves() {
    let home = Home::new(POLICIES);
    home.start().stop();
    for signal in ["HUP", "TERM"] {
        let mut node = home.spawn(([127, 0, 0, 1], 0).into());
        // Where it has recovered its counts, it has long taken the signals over.
        assert!(node.log().line("counts recovered").is_some());
        node.signal(signal);
        node.wait_serving();
        if signal == "HUP" {
            assert!(node.log().line("policies reloaded").is_some());
            node.signal("TERM");
        }
        assert_eq!(node.wait(), Some(0), "{signal}: {}", node.log().so_far());
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let home = Home::new(POLICIES);
    home.set(LONG_DRAIN);
    let mut node = home.start();
    let frozen = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connect = home.client(&node).deadline(PATIENCE).connect();
    let _client = frozen.block_on(connect).unwrap();
    node.signal("TERM");
    assert!(
        node.log()
            .line("stopping: answering what was asked")
            .is_some()
    );
    node.signal("TERM");
    assert_eq!(node.wait(), Some(1));
    assert!(
        node.log().whole().contains("stopping at once"),
        "{}",
        node.log().whole()
    );
    home.start_at(node.address()).stop();
}
