//! Calls that a node turns away come again a little later, and only if there is time.

use std::future::IntoFuture;
use std::time::Duration;

use super::toy::{Peer, Toy, granted};
use crate::client::{Check, CheckError, Client};
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::error::WireError;

const OVERLOADED: WireError = WireError::Overloaded { retry_ms: 1 };

/// Turns away so many frames of checks, whole or check by check; then grants all. Says how many
/// checks came.
async fn turn_away(mut peer: Peer, frames: usize, whole: bool) -> usize {
    let (mut seen, mut checks) = (0, 0);
    while let Some(frame) = peer.next().await {
        seen += 1;
        checks += frame.asks().len();
        if seen > frames {
            peer.decide(&frame, |ask| Ok(granted(ask.cost))).await;
        } else if whole {
            let id = frame.request().id;
            peer.answer(id, ResponseBody::Failed(OVERLOADED)).await;
        } else {
            peer.decide(&frame, |_| Err(OVERLOADED)).await;
        }
    }
    checks
}

/// What a call and a list get whose first frames are turned away, and how many checks came in all.
async fn ask(frames: usize, whole: bool) -> (Vec<Result<u64, CheckError>>, [usize; 2]) {
    let mut answers = Vec::new();
    let mut seen = [0, 0];
    for (n, seen) in seen.iter_mut().enumerate() {
        let toy = Toy::start();
        let (client, peer) = toy.connected(toy.client()).await;
        let node = tokio::spawn(turn_away(peer, frames, whole));
        if n == 0 {
            let answer = client.check("api", "a").cost(7).await;
            answers.push(answer.map(|decision| decision.remaining));
        } else {
            let list = ["b", "c"].map(|key| Check::new("api", key).cost(7));
            let list = client.check_many(list).await.into_iter();
            answers.extend(list.map(|answer| answer.map(|decision| decision.remaining)));
        }
        drop(client);
        *seen = node.await.unwrap();
    }
    (answers, seen)
}

#[tokio::test]
async fn who_is_turned_away_comes_again_and_is_decided() {
    for whole in [false, true] {
        let (answers, seen) = ask(2, whole).await;
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [7; 3]);
        assert_eq!(seen, [3, 6]);
    }
}

#[tokio::test]
async fn who_is_always_turned_away_is_told_after_some_attempts() {
    for whole in [false, true] {
        let (answers, seen) = ask(usize::MAX, whole).await;
        for answer in answers {
            let error = answer.unwrap_err();
            assert!(
                matches!(error, CheckError::Refused(WireError::Overloaded { .. })),
                "{error:?}"
            );
            assert!(!error.maybe_counted());
        }
        assert_eq!(seen, [5, 10]);
    }
}

#[tokio::test]
async fn of_a_list_only_those_are_asked_again_who_were_turned_away() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let list = async { client.check_many([("api", "a"), ("api", "b")]).await };
    let script = async {
        let frame = peer.frame().await;
        let answer = |key: &str| match key {
            "a" => Ok(granted(1)),
            _ => Err(OVERLOADED),
        };
        peer.decide(&frame, |ask| answer(ask.target.key)).await;
        let frame = peer.frame().await;
        assert_eq!(frame.keys(), ["b"]);
        peer.decide(&frame, |_| Ok(granted(2))).await;
    };
    let (answers, ()) = tokio::join!(list, script);
    let answers: Vec<u64> = answers
        .into_iter()
        .map(|it| it.unwrap().remaining)
        .collect();
    assert_eq!(answers, [1, 2]);
}

#[tokio::test]
async fn nobody_rests_beyond_the_deadline() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let client = client.with_deadline(Duration::from_secs(60));
    let late = WireError::Overloaded { retry_ms: 60_000 };
    let calls = async {
        let one = client.check("api", "a").await;
        let list = client.check_many([("api", "b")]).await;
        (one, list)
    };
    let script = async {
        for _ in 0..2 {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Err(late.clone())).await;
        }
    };
    let ((one, list), ()) = tokio::join!(calls, script);
    assert!(matches!(one, Err(CheckError::Refused(error)) if error == late));
    assert!(matches!(&list[0], Err(CheckError::Refused(error)) if *error == late));
}

/// Carries one command out after it was turned away twice.
async fn carried_out(client: &Client, peer: &mut Peer) -> usize {
    let refund = async {
        let grant = crate::Grant {
            at: crate::SlotTime::from_ms(5),
            cost: 1,
        };
        client.refund("api", "a", grant).await.unwrap();
    };
    let script = async {
        for n in 0..3 {
            let frame = peer.frame().await;
            assert!(matches!(frame.request().body, RequestBody::Refund { .. }));
            let body = if n < 2 {
                ResponseBody::Failed(OVERLOADED)
            } else {
                ResponseBody::Refunded { permits: 1 }
            };
            peer.answer(frame.request().id, body).await;
        }
        3
    };
    let ((), sent) = tokio::join!(refund, script);
    sent
}

#[tokio::test]
async fn a_command_that_was_turned_away_comes_again_too_since_nothing_was_done() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    assert_eq!(carried_out(&client, &mut peer).await, 3);
}

#[test]
fn a_call_may_rest_on_any_executor() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (client, node) = runtime.block_on(async {
        let toy = Toy::start();
        let (client, peer) = toy.connected(toy.client()).await;
        let node = async move {
            let _toy = toy;
            turn_away(peer, 1, false).await
        };
        (client, tokio::spawn(node))
    });
    // Outside of any tokio runtime.
    let answer = block_on(client.check("api", "a").cost(3).into_future());
    assert_eq!(answer.unwrap().remaining, 3);
    drop(client);
    assert_eq!(runtime.block_on(node).unwrap(), 2);
}

/// Polls on this thread alone.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}
