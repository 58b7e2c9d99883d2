//! An owner that is gone or silent: what was not sent to it goes to the next replica; what was sent is
//! not sent again, but as lost calls are.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::toy::{Toy, granted};
use super::trio::{KEY, Trio, grant, held_by, toys};
use crate::client::{CheckError, Client, ResendLost};
use crate::protocol::client::RequestBody;
use crate::transport::tls::ClientAuth;
use crate::types::{Grant, SlotTime};

#[tokio::test]
async fn while_an_owner_is_down_its_next_replica_is_asked_before_anybody_else() {
    let mut trio = Trio::start(|builder| builder).await;
    trio.owner.close();
    let down = async {
        loop {
            trio.toys[0].refuse().await;
        }
    };
    let client = &trio.client;
    let calls = async {
        let lost = client.check("api", KEY).await;
        assert_eq!(lost.unwrap().remaining, 1);
        let list = client.check_many([("api", "a"), ("api", "b")]).await;
        assert!(list.iter().all(Result::is_ok));
        let at = SlotTime::from_ms(1);
        let refund = client.refund("api", KEY, Grant { at, cost: 3 });
        assert_eq!(refund.await.unwrap(), 3);
    };
    let script = async {
        assert_eq!(grant(&mut trio.next).await.keys(), [KEY]);
        assert_eq!(grant(&mut trio.next).await.keys(), ["a", "b"]);
        let frame = trio.next.frame().await;
        assert!(matches!(frame.request().body, RequestBody::Refund { .. }));
        let refunded = crate::protocol::client::ResponseBody::Refunded { permits: 3 };
        trio.next.answer(frame.request().id, refunded).await;
    };
    tokio::select! {
        _ = async { tokio::join!(calls, script) } => {}
        () = down => {}
        frame = trio.seed.frame() => panic!("the seed was asked {:?}", frame.keys()),
    }
}

/// A node on a thread of its own, which can be stopped: then it does not even acknowledge.
struct Stoppable {
    runtime: Option<Runtime>,
    heard: mpsc::Receiver<Vec<String>>,
    stop: Option<SyncSender<()>>,
}

impl Stoppable {
    /// `toy` again, under its own address, granting all.
    async fn start(toy: &Toy) -> (Self, Toy) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (node, authority) = (toy.node, Arc::clone(&toy.authority));
        let (tell, heard) = mpsc::channel(64);
        let (told, mut toys) = mpsc::channel(1);
        runtime.spawn(async move {
            let toy = Toy::of(node, authority, ClientAuth::Required);
            let addressed = toy.endpoint.clone();
            let named = Toy {
                node,
                endpoint: addressed,
                authority: Arc::clone(&toy.authority),
            };
            told.send(named).await.ok();
            let mut peer = toy.greet_newer().await;
            while let Some(frame) = peer.next().await {
                let keys = frame.keys().into_iter().map(str::to_owned).collect();
                peer.decide(&frame, |_| Ok(granted(7))).await;
                tell.send(keys).await.ok();
            }
        });
        let toy = toys.recv().await.unwrap();
        let runtime = Some(runtime);
        let node = Self {
            runtime,
            heard,
            stop: None,
        };
        (node, toy)
    }

    /// From now on it does nothing.
    async fn stop(&mut self) {
        let (stop, stopped): (SyncSender<()>, Receiver<()>) = sync_channel(0);
        let (tell, told) = tokio::sync::oneshot::channel();
        let runtime = self.runtime.as_ref().unwrap();
        runtime.spawn(async move {
            tell.send(()).ok();
            stopped.recv().ok();
        });
        told.await.unwrap();
        self.stop = Some(stop);
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until another node than the owner is asked.
async fn passed_over(client: &Client) {
    let core = client.core();
    let slot = core.aim_at("api", KEY).unwrap().slot;
    let owner = core.holders(Some(slot)).owner();
    while core.nearest(slot) == owner {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_silent_owner_is_passed_over_and_what_was_sent_to_it_is_sent_once_more_at_most() {
    for resend in [ResendLost::Once, ResendLost::Never] {
        let [first, second, third] = toys();
        let (mut silent, first) = Stoppable::start(&first).await;
        let builder = third.client().resend_lost(resend);
        let (client, seed) = tokio::join!(builder.connect(), third.greet_newer());
        let client = client.unwrap();
        let mut seed = seed;
        let mut watch = seed.watch().await;
        let routes = held_by(5, [&first, &second, &third]);
        watch.tell_replicas(1, &routes).await;
        let (_, mut next) = tokio::join!(async { client.check("api", KEY).await }, async {
            grant(&mut seed).await;
            second.greet_newer().await
        });
        // Asked by whoever gets it, until the owner is.
        let by_owner = async { while client.check("api", KEY).await.unwrap().remaining != 7 {} };
        let others = async {
            loop {
                tokio::select! {
                    frame = seed.frame() => seed.decide(&frame, |_| Ok(granted(1))).await,
                    frame = next.frame() => next.decide(&frame, |_| Ok(granted(1))).await,
                }
            }
        };
        tokio::select! {
            () = by_owner => {}
            () = others => {}
        }
        silent.stop().await;
        let sent = tokio::spawn({
            let client = client.clone();
            async move { client.check("api", KEY).await }
        });
        passed_over(&client).await;
        let (decision, frame) = tokio::join!(
            async { client.check("api", "later").await },
            grant(&mut next)
        );
        assert_eq!(frame.keys(), ["later"], "and not the one that was sent");
        assert_eq!(decision.unwrap().remaining, 1);
        match resend {
            ResendLost::Once => {
                assert_eq!(grant(&mut next).await.keys(), [KEY]);
                assert_eq!(sent.await.unwrap().unwrap().remaining, 1);
            }
            ResendLost::Never => {
                let error = sent.await.unwrap().unwrap_err();
                assert!(matches!(error, CheckError::ConnectionLost), "{error:?}");
            }
        }
        let heard = std::iter::from_fn(|| silent.heard.try_recv().ok()).count();
        assert!(heard >= 1, "only what was asked before");
    }
}
