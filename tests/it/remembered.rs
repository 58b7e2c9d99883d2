//! What outlives a node's death, one thing at a time: a permit that was granted never comes back.

use std::time::Duration;

use distributed_rate_limiter::Decision;
use distributed_rate_limiter::client::Client;

use crate::support::{Home, Node, now_ns};

/// A policy for each durability, and one whose window a test can wait for.
const POLICIES: &str = "\
[policy.process]
limit = \"5/hour\"
durability = \"process\"
[policy.fsync]
limit = \"5/hour\"
durability = \"fsync\"
[policy.none]
limit = \"5/hour\"
durability = \"none\"
[policy.soon]
limit = \"5/8s\"
";

const WINDOW_NS: u64 = 8_000_000_000;

async fn client(home: &Home, node: &Node) -> Client {
    home.client(node)
        .connections(1)
        .deadline(Duration::from_secs(10))
        .connect()
        .await
        .unwrap()
}

/// Kills the node, starts it again, and lets the client find out.
async fn kill_and_restart(home: &Home, node: &mut Node, client: &Client) {
    node.kill();
    *node = home.start_at(node.address());
    let impatient = client.with_deadline(Duration::from_secs(1));
    while impatient.peek("soon", "user-7").await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks for all five permits and gets them.
async fn use_up(client: &Client, policy: &str, key: &str) {
    for left in (0..5).rev() {
        let decision = client.check(policy, key).await.unwrap();
        assert_eq!(
            (decision.allowed, decision.remaining),
            (true, left),
            "{policy}"
        );
    }
}

async fn ask(client: &Client, policy: &str) -> Decision {
    client.check(policy, "user-7").await.unwrap()
}

/// How a node comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    Stop,
}

impl End {
    fn of(self, node: &mut Node) {
        match self {
            Self::Kill => node.kill(),
            Self::Stop => {
                node.stop();
                let log = node.log().whole();
                assert!(log.contains("stopped; all counts are synced"), "{log}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_granted_permit_never_comes_back_however_often_the_node_ends() {
    let endings: [&[End]; 4] = [
        &[End::Kill],
        &[End::Stop],
        &[End::Kill, End::Kill],
        &[End::Stop, End::Kill, End::Stop],
    ];
    for endings in endings {
        let home = Home::new(POLICIES);
        let mut node = home.start();
        let before = client(&home, &node).await;
        for policy in ["process", "fsync"] {
            use_up(&before, policy, "user-7").await;
        }
        for &end in endings {
            end.of(&mut node);
            node = home.start_at(node.address());
        }
        let after = client(&home, &node).await;
        for policy in ["process", "fsync"] {
            let decision = ask(&after, policy).await;
            assert!(
                !decision.allowed,
                "{policy} forgot over {endings:?}: {decision:?}"
            );
            assert!(
                !decision.is_degraded(),
                "{policy}: counted, not guessed: {decision:?}"
            );
        }
        assert!(after.check("process", "user-8").await.unwrap().allowed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_kill_takes_what_is_counted_in_memory_only_and_nothing_beside_it() {
    let home = Home::new(POLICIES);
    home.set("[storage]\ncheckpoint_interval = \"1hour\"\n[log]\nformat = \"json\"\n");
    let mut node = home.start();
    let connected = client(&home, &node).await;
    for policy in ["none", "process"] {
        use_up(&connected, policy, "user-7").await;
    }
    kill_and_restart(&home, &mut node, &connected).await;
    let none = ask(&connected, "none").await;
    assert_eq!((none.allowed, none.remaining), (true, 4), "as documented");
    assert!(!ask(&connected, "process").await.allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn after_a_kill_everything_is_denied_until_the_window_has_passed_and_then_granted() {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    let before = client(&home, &node).await;
    let first_sent_ns = now_ns();
    use_up(&before, "soon", "user-7").await;
    let last_received_ns = now_ns();
    node.kill();
    node = home.start_at(node.address());
    let after = client(&home, &node).await;
    let mut denied = 0;
    let granted = loop {
        let decision = ask(&after, "soon").await;
        if decision.allowed {
            break now_ns();
        }
        denied += 1;
        tokio::time::sleep(decision.retry_after.min(Duration::from_millis(200))).await;
    };
    assert!(
        granted >= first_sent_ns + WINDOW_NS,
        "a permit came back within its window"
    );
    assert!(
        denied > 0 || granted > last_received_ns + WINDOW_NS,
        "nothing was denied"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reservation_outlives_a_kill_and_can_be_settled_once() {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    let connected = client(&home, &node).await;
    for durability in ["process", "fsync"] {
        let reserved = connected.reserve(durability, "user-7", 4).await.unwrap();
        let kept = connected.reserve(durability, "user-7", 1).await.unwrap();
        assert!(reserved.decision.allowed && kept.decision.allowed);
        kill_and_restart(&home, &mut node, &connected).await;
        let full = ask(&connected, durability).await;
        assert!(!full.allowed, "{durability}: the estimates count: {full:?}");
        let id = reserved.reservation.as_ref().unwrap().id();
        reserved.reservation.unwrap().settle(1).await.unwrap();
        kill_and_restart(&home, &mut node, &connected).await;
        let left = connected.peek(durability, "user-7").await.unwrap();
        assert_eq!(
            left.remaining, 3,
            "{durability}: settled for 1, and 1 is still reserved"
        );
        let admin = home.admin(&node).await;
        let open = admin
            .inspect(durability, "user-7")
            .await
            .unwrap()
            .reservations;
        assert!(
            open.len() == 1 && open[0].0 != id.0,
            "{durability}: {open:?}"
        );
        kept.reservation.unwrap().cancel().await.unwrap();
        assert_eq!(
            connected
                .peek(durability, "user-7")
                .await
                .unwrap()
                .remaining,
            4
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reset_and_a_refund_outlive_a_kill() {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    let connected = client(&home, &node).await;
    for policy in ["process", "fsync"] {
        use_up(&connected, policy, "reset").await;
        let granted = connected.check(policy, "refund").cost(3).await.unwrap();
        connected.reset(policy, "reset").await.unwrap();
        assert_eq!(
            connected
                .refund(policy, "refund", granted.grant.unwrap())
                .await
                .unwrap(),
            3
        );
        kill_and_restart(&home, &mut node, &connected).await;
        use_up(&connected, policy, "reset").await;
        use_up(&connected, policy, "refund").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_learns_at_once_that_the_node_was_killed_and_started_again() {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    // QUIC by itself gives a silent node up after 30 s.
    let client = home.client(&node).connections(1);
    let client = client
        .deadline(Duration::from_secs(15))
        .connect()
        .await
        .unwrap();
    assert!(ask(&client, "process").await.allowed);
    for left in [3, 2, 1] {
        node.kill();
        node = home.start_at(node.address());
        let decision = ask(&client, "process").await;
        assert_eq!((decision.allowed, decision.remaining), (true, left));
    }
}
