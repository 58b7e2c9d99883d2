use super::*;

#[tokio::test]
async fn checks_of_a_sealed_slot_wait_until_it_is_served_again() {
    for via in [Via::Caller, Via::Proxy] {
        let waits = Waits {
            seal: LONG,
            ..Waits::default()
        };
        let cluster = Cluster::with_owners(2, waits);
        let one = cluster.node(1);
        one.toy.seal(10);
        let checks = one.decide(&["10:a", "10:b"], LONG, via);
        let serve = async {
            tokio::task::yield_now().await;
            one.forwarder.changed();
            tokio::task::yield_now().await;
            one.serve(10);
        };
        let (answers, ()) = tokio::join!(checks, serve);
        let expected = ["10:a", "10:b"].map(|key| granted(key, WireSource::Owner));
        assert_eq!(answers, expected);
        assert_eq!(one.toy.counted_in_all(), 2);
    }
}

#[tokio::test]
async fn checks_of_a_sealed_slot_follow_it_to_its_new_owner() {
    let waits = Waits {
        seal: LONG,
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(2, waits);
    let (one, two) = (cluster.node(1), cluster.node(2));
    one.toy.seal(10);
    let checks = one.decide(&["10:a"], LONG, Via::Caller);
    let move_it = async {
        tokio::task::yield_now().await;
        two.knows(10, 5, 2);
        two.serve(10);
        one.knows(10, 5, 2);
    };
    let (answers, ()) = tokio::join!(checks, move_it);
    assert_eq!(answers, [granted("10:a", WireSource::Proxied)]);
}

#[tokio::test]
async fn checks_wait_for_a_slot_only_so_long() {
    let waits = Waits {
        seal: Duration::from_millis(1),
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(2, waits);
    let one = cluster.node(1);
    one.toy.seal(10);
    // Slot 90 has no owner that anybody knows.
    for key in ["10:a", "90:b"] {
        for via in [Via::Caller, Via::Proxy] {
            let answers = one.decide(&[key], LONG, via).await;
            assert!(is_overloaded(&answers[0]), "{answers:?}");
        }
    }
    assert_eq!(one.forwarder.counts().sealed_out, 4);
    assert_eq!(one.toy.counted_in_all(), 0);
}

#[tokio::test]
async fn a_sealed_slot_holds_up_no_other_key() {
    let waits = Waits {
        seal: LONG,
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(2, waits);
    let one = cluster.node(1);
    one.toy.seal(10);
    let asks = [ask("free", "10:a"), ask("free", "20:b")];
    let postponed = asks.each_ref().map(|ask| Postponed {
        ask,
        mode: Mode::Count,
        left: LONG,
    });
    let tasks = Service::later(&one.clustered, &postponed, Via::Caller);
    let mut tasks: FuturesUnordered<_> = tasks.into_iter().collect();
    let first = tasks.next().await.unwrap();
    let expected = (1, granted("20:b", WireSource::Proxied));
    assert_eq!(first.decided, [expected]);
    one.serve(10);
    assert_eq!(tasks.next().await.unwrap().decided[0].0, 0);
}
