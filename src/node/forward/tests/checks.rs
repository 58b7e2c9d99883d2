use super::*;
use crate::client::{Check, Client};
use crate::protocol::routes::Routes;
use crate::types::Source;

async fn client(cluster: &Cluster, node: u128) -> Client {
    Client::builder()
        .seeds([cluster.node(node).clients])
        .tls(credentials(&cluster.authority, Role::Client))
        .connections(1)
        .deadline(LONG)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_of_several_owners_is_answered_in_order_and_says_who_decided() {
    let cluster = Cluster::with_owners(3, Waits::default());
    let client = client(&cluster, 1).await;
    let keys = [
        "20:a",
        "10:bb",
        "30:ccc",
        "21:dddd",
        "11:eeeee",
        "20:ffffff",
    ];
    for _ in 0..3 {
        let checks = keys.map(|key| Check::new("free", key));
        let answers = client.check_many(checks).await;
        for (key, answer) in keys.iter().zip(answers) {
            let decision = answer.unwrap();
            let source = if key.starts_with('1') {
                Source::Owner
            } else {
                Source::Proxied
            };
            assert!(decision.allowed);
            let found = (decision.limit, decision.source);
            assert_eq!(found, (u64::try_from(key.len()).unwrap(), source));
        }
    }
    for key in keys {
        let owner = u128::from(key.as_bytes()[0] - b'0');
        for node in 1..=3 {
            let expected = if node == owner { 3 } else { 0 };
            assert_eq!(cluster.node(node).toy.counted(key), expected);
        }
    }
    assert_eq!(cluster.node(1).forwarder.counts().proxied, 12);
}

#[tokio::test]
async fn a_slow_owner_holds_up_its_own_keys_only() {
    let cluster = Cluster::with_owners(3, Waits::default());
    let client = client(&cluster, 1).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.check("held", "20:slow").await }
    });
    while cluster.node(2).toy.counted("20:slow") == 0 {
        tokio::task::yield_now().await;
    }
    for key in ["30:x", "10:y", "31:z"] {
        assert!(client.check("free", key).await.unwrap().allowed);
    }
    assert!(!slow.is_finished());
    cluster.node(2).toy.release();
    assert!(slow.await.unwrap().unwrap().allowed);
}

#[tokio::test]
async fn peeks_are_passed_on_as_peeks() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let asks = [ask("free", "20:a"), ask("free", "21:b")];
    let node = cluster.node(1);
    let answers = node.decide_all(&asks, Mode::Look, LONG, Via::Caller).await;
    assert_eq!(answers[1], granted("21:b", WireSource::Proxied));
    assert_eq!(cluster.node(2).toy.counted_in_all(), 0);
}

#[tokio::test]
async fn large_batches_travel_in_several_requests() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let keys: Vec<String> = (0..3000).map(|n| format!("20:{n:0200}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let answers = cluster.node(1).decide(&keys, LONG, Via::Caller).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().allowed)
    );
    assert_eq!(cluster.node(2).toy.counted_in_all(), 3000);
}

#[tokio::test]
async fn what_the_named_owner_gave_away_is_asked_of_the_new_one_once() {
    let cluster = Cluster::with_owners(3, Waits::default());
    let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
    two.toy.seal(20);
    two.knows(20, 9, 3);
    three.knows(20, 9, 3);
    three.toy.serve(20);
    let keys = ["20:moved", "21:stays", "20:too"];
    let answers = one.decide(&keys, LONG, Via::Caller).await;
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(answer, granted(key, WireSource::Proxied));
    }
    let counted = [&two.toy, &three.toy].map(|toy| keys.map(|key| toy.counted(key)));
    assert_eq!(counted, [[0, 1, 0], [1, 0, 1]]);
    assert_eq!(two.forwarder.counts().proxied, 0, "never passed on again");
    assert_eq!(two.forwarder.counts().not_owner, 2);
    // It has learned, and goes straight there.
    one.decide(&["20:moved"], LONG, Via::Caller).await;
    assert_eq!(two.forwarder.counts().not_owner, 2);
    assert_eq!(three.toy.counted("20:moved"), 2);
}

#[tokio::test]
async fn nodes_that_name_each_other_cost_a_bounded_number_of_questions() {
    let waits = Waits {
        news: Duration::from_millis(1),
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(3, waits);
    let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
    two.toy.seal(20);
    two.knows(20, 9, 3);
    let answers = one.decide(&["20:lost", "21:fine"], LONG, Via::Caller).await;
    assert!(is_overloaded(&answers[0]), "{answers:?}");
    assert_eq!(answers[1], granted("21:fine", WireSource::Proxied));
    let asked = [two, three].map(|node| node.forwarder.counts());
    assert_eq!(asked.map(|counts| counts.not_owner), [1, 2]);
    assert_eq!(asked.map(|counts| counts.proxied), [0, 0]);
}

#[tokio::test]
async fn what_a_peer_passed_on_is_decided_here_or_turned_away() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let answers = cluster.node(1).decide(&["20:a"], LONG, Via::Proxy).await;
    let expected = WireError::NotOwner {
        slot: 20,
        epoch: 1,
        owner: 2,
    };
    assert_eq!(answers, [Err(expected)]);
    assert_eq!(cluster.node(2).toy.counted_in_all(), 0);
}

#[tokio::test]
async fn a_full_queue_turns_away_its_own_keys_at_once() {
    let cluster = Cluster::with_owners(3, Waits::default());
    let one = cluster.node(1);
    let keys: Vec<String> = (0..17 * 1024).map(|n| format!("20:{n}")).collect();
    let asks: Vec<_> = keys.iter().map(|key| ask("held", key)).collect();
    let all = one.decide_all(&asks, Mode::Count, LONG, Via::Caller);
    let release = async {
        while cluster.node(2).toy.counted_in_all() == 0 {
            tokio::task::yield_now().await;
        }
        let other = one.decide(&["30:x"], LONG, Via::Caller).await;
        assert_eq!(other, [granted("30:x", WireSource::Proxied)]);
        cluster.node(2).toy.release();
    };
    let (answers, ()) = tokio::join!(all, release);
    let turned_away = answers
        .iter()
        .filter(|answer| is_overloaded(answer))
        .count();
    assert_eq!(turned_away, 1024);
    assert_eq!(cluster.node(2).toy.counted_in_all(), 16 * 1024);
}

#[tokio::test]
async fn routes_are_told_when_they_change_or_the_time_is_nearly_over() {
    let waits = Waits {
        routes: Duration::ZERO,
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(2, waits);
    let forwarder = &cluster.node(1).forwarder;
    let first = forwarder.later_routes(0, LONG).await.unwrap();
    assert_eq!(first.nodes.len(), 2);
    assert_eq!(Routes::from(first.clone()).runs[1], (10, 0));
    let same = forwarder
        .later_routes(first.tag, Duration::from_millis(5))
        .await
        .unwrap();
    assert_eq!(same, first);
    let waiting = tokio::spawn(forwarder.later_routes(first.tag, LONG));
    tokio::task::yield_now().await;
    cluster.node(1).knows(10, 2, 2);
    let other = waiting.await.unwrap().unwrap();
    assert_ne!(other.tag, first.tag);
    assert_eq!(Routes::from(other.clone()).runs[1], (1, 1));
    forwarder.set_policies(5);
    let third = forwarder.later_routes(other.tag, LONG).await.unwrap();
    assert_eq!(third.policies, 5);
    // Who waits is told at once that this node does not know them any more.
    let waiting = tokio::spawn(forwarder.later_routes(third.tag, LONG));
    tokio::task::yield_now().await;
    forwarder.set_cut_off(true);
    assert_eq!(waiting.await.unwrap(), Err(WireError::Unavailable));
    forwarder.set_cut_off(false);
    assert_eq!(forwarder.later_routes(0, LONG).await, Ok(third));
}
