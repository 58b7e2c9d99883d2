use std::collections::BTreeSet;

use super::*;
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;
use crate::server::Via;
use crate::server::connection::serve_requests;
use crate::server::hello;

fn keyed(id: u64, asks: &[(&'static str, &'static str)]) -> Request<'static> {
    let asks = asks.iter().map(|&(policy, key)| ask(policy, key)).collect();
    request(id, RequestBody::Check(asks))
}

/// The limits in an answer's decisions: the lengths of the keys.
fn limits(response: &Response) -> Vec<u64> {
    let ResponseBody::Decisions(each) = &response.body else {
        panic!("{response:?}");
    };
    let limit = |decided: &Result<_, _>| -> u64 {
        let decision: &crate::protocol::client::WireDecision = decided.as_ref().unwrap();
        decision.limit
    };
    each.iter().map(limit).collect()
}

#[tokio::test]
async fn a_request_of_which_some_is_late_is_answered_whole_and_in_order() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let asks = [
        ("free", "1"),
        ("late", "22"),
        ("free", "333"),
        ("late", "4444"),
    ];
    caller
        .say(&[keyed(1, &asks), keyed(2, &[("free", "55555")])])
        .await;
    let first = caller.answer().await;
    assert_eq!((first.id, limits(&first)), (2, vec![5]));
    node.toy.open("4444");
    caller.say(&[check(3, &["free"])]).await;
    assert_eq!(caller.answer().await.id, 3);
    node.toy.open("22");
    let last = caller.answer().await;
    assert_eq!((last.id, limits(&last)), (1, vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn requests_of_one_read_wait_for_nothing_but_their_own_checks() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let slow = keyed(1, &[("late", "slow")]);
    let quick = keyed(2, &[("late", "q")]);
    let peek = request(
        3,
        RequestBody::Peek(vec![ask("late", "pp"), ask("free", "k")]),
    );
    caller.say(&[slow, quick, peek]).await;
    node.toy.open("q");
    assert_eq!(caller.answer().await.id, 2);
    node.toy.open("pp");
    let peeked = caller.answer().await;
    assert_eq!((peeked.id, limits(&peeked)), (3, vec![2, 1]));
    node.toy.open("slow");
    assert_eq!(caller.answer().await.id, 1);
}

#[tokio::test]
async fn what_is_granted_here_waits_for_its_commit_before_the_request_is_answered() {
    let node = Node::start(Bounds::default());
    node.toy.keep(|kept| kept.synced = 0);
    let mut caller = node.caller().await;
    node.toy.open("k");
    caller.say(&[check(1, &["fsync", "late"])]).await;
    caller.say(&[check(2, &["late", "free"])]).await;
    assert_eq!(caller.answer().await.id, 2);
    node.toy.keep(|kept| kept.synced = 1);
    assert_eq!(caller.answer().await.id, 1);
    node.toy.keep(|kept| kept.synced = 0);
    caller.say(&[check(3, &["fsync", "late"])]).await;
    node.toy.decided(2).await;
    node.toy.keep(|kept| kept.failed = true);
    let answer = caller.answer().await;
    let ResponseBody::Decisions(each) = answer.body else {
        panic!("{answer:?}");
    };
    assert_eq!(each[0], Err(WireError::StorageFailed));
    assert!(each[1].is_ok(), "the other node has kept its own");
}

#[tokio::test]
async fn late_commands_are_answered_when_they_are_done() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let target = ask("free", "k").target;
    let cancel = RequestBody::Cancel {
        target,
        reservation: 1,
    };
    caller.say(&[request(1, cancel), check(2, &["free"])]).await;
    assert_eq!(caller.answer().await.id, 2);
    node.toy.open("cancel");
    let done = caller.answer().await;
    assert_eq!((done.id, done.body), (1, ResponseBody::Done));
}

#[tokio::test]
async fn a_hanging_request_is_told_how_long_it_may_and_ends_with_the_stream() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let routes = |id| request(id, RequestBody::Routes { known: 7 });
    caller.say(&[routes(1)]).await;
    node.toy.open("routes");
    let answer = caller.answer().await;
    let permits = 60_000;
    assert_eq!(answer.body, ResponseBody::Refunded { permits });
    node.toy.open_gates.send_modify(BTreeSet::clear);
    caller.say(&[routes(2), keyed(3, &[("late", "k")])]).await;
    caller.finish().await;
    let cut = caller.answer().await;
    let unavailable = ResponseBody::Failed(WireError::Unavailable);
    assert_eq!((cut.id, cut.body), (2, unavailable));
    node.toy.open("k");
    assert_eq!(caller.answer().await.id, 3);
}

#[tokio::test]
async fn late_checks_count_as_in_flight() {
    let node = Node::start(Bounds {
        in_flight_max: 3,
        ..Bounds::default()
    });
    let mut caller = node.caller().await;
    caller.say(&[check(1, &["late", "late", "late"])]).await;
    node.toy.decided(3).await;
    caller.say(&[check(2, &["free"])]).await;
    let turned = caller.answer().await;
    assert_eq!(turned.id, 2);
    assert!(matches!(
        turned.body,
        ResponseBody::Failed(WireError::Overloaded { .. })
    ));
    node.toy.open("k");
    assert_eq!(caller.answer().await.id, 1);
    caller.say(&[check(3, &["free"])]).await;
    assert_eq!(limits(&caller.answer().await), [1]);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_late_and_cuts_what_hangs() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let routes = request(1, RequestBody::Routes { known: 7 });
    caller.say(&[routes, check(2, &["late"])]).await;
    node.toy.decided(1).await;
    node.server.shutdown(std::time::Duration::from_secs(60));
    let cut = caller.answer().await;
    assert_eq!(cut.id, 1);
    node.toy.open("k");
    assert_eq!(caller.answer().await.id, 2);
}

#[tokio::test]
async fn what_another_node_passed_on_is_told_apart() {
    assert_ne!(Via::Caller, Via::Proxy);
    let node = Node::start(Bounds::default());
    // A peer's port: its own hello, and then the same frames.
    let issued = node.authority.issue(Role::Node, "n", &[]).unwrap();
    let credentials = Credentials::issued(&node.authority, &issued).unwrap();
    let setup = ServerSetup::new(&credentials, ClientAuth::Required).unwrap();
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    let endpoint = setup.endpoint(socket).unwrap();
    let server = Arc::clone(&node.server);
    let serving = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let first = hello::exchange(&server, &connection).await.unwrap();
        serve_requests(&server, &connection, first).await
    });
    let endpoint = client_endpoint(address).unwrap();
    let config = node.config(Role::Node, ALPN_CLIENT);
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    let mut peer = Caller::greet(connecting.await.unwrap()).await;
    node.toy.open("k");
    peer.say(&[check(1, &["late", "free"])]).await;
    let ResponseBody::Decisions(each) = peer.answer().await.body else {
        panic!("no decisions");
    };
    let owner = WireError::NotOwner {
        slot: 1,
        epoch: 2,
        owner: 3,
    };
    assert_eq!(each[0], Err(owner));
    assert!(each[1].is_ok());
    peer.connection.close(0_u32.into(), b"");
    assert_eq!(serving.await.unwrap(), None);
}
