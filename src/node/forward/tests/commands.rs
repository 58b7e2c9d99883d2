use super::*;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::server::Carried;

fn target(key: &str) -> Target<'_> {
    ask("free", key).target
}

fn refund(key: &str) -> RequestBody<'_> {
    RequestBody::Refund {
        target: target(key),
        at_ms: 1,
        cost: 3,
    }
}

fn reserve(key: &str) -> RequestBody<'_> {
    RequestBody::Reserve {
        ask: ask("free", key),
        ttl_ms: 1000,
    }
}

impl Node {
    pub(super) async fn carry_out(
        &self,
        body: RequestBody<'_>,
        left: Duration,
        via: Via,
    ) -> ResponseBody {
        match Service::command(&self.clustered, &body, left, via) {
            Carried::Now(body, None) => body,
            Carried::Later(task) | Carried::Open(task) => task.await,
            carried @ Carried::Now(_, Some(_)) => panic!("{carried:?}"),
        }
    }
}

#[tokio::test]
async fn commands_are_carried_out_by_the_owner() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let one = cluster.node(1);
    let done = one.carry_out(refund("20:a"), LONG, Via::Caller).await;
    assert_eq!(done, ResponseBody::Refunded { permits: 3 });
    let reserved = one.carry_out(reserve("20:a"), LONG, Via::Caller).await;
    let decision = granted("20:a", WireSource::Proxied).unwrap();
    let reservation = Some(7);
    let expected = ResponseBody::Reserved {
        decision,
        reservation,
    };
    assert_eq!(reserved, expected);
    let target = target("10:own");
    let done = one
        .carry_out(RequestBody::Reset { target }, LONG, Via::Caller)
        .await;
    assert_eq!(done, ResponseBody::Done);
    let counted = ["refund", "reserve", "reset"].map(|what| cluster.node(2).toy.counted(what));
    assert_eq!(counted, [1, 1, 0]);
}

#[tokio::test]
async fn commands_follow_a_slot_to_its_new_owner_and_wait_while_it_is_sealed() {
    let waits = Waits {
        seal: LONG,
        ..Waits::default()
    };
    let cluster = Cluster::with_owners(3, waits);
    let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
    two.toy.seal(20);
    two.knows(20, 9, 3);
    three.knows(20, 9, 3);
    let command = one.carry_out(refund("20:a"), LONG, Via::Caller);
    let serve = async {
        while two.forwarder.counts().not_owner == 0 {
            tokio::task::yield_now().await;
        }
        three.serve(20);
    };
    let (done, ()) = tokio::join!(command, serve);
    assert_eq!(done, ResponseBody::Refunded { permits: 3 });
    assert_eq!(three.toy.counted("refund"), 1);
    let elsewhere = two.carry_out(refund("20:a"), LONG, Via::Proxy).await;
    let error = WireError::NotOwner {
        slot: 20,
        epoch: 9,
        owner: 3,
    };
    assert_eq!(elsewhere, ResponseBody::Failed(error));
}

#[tokio::test]
async fn without_its_owner_a_reservation_goes_by_on_failure_and_a_refund_fails() {
    let cluster = Cluster::with_owners(1, Waits::default());
    let one = cluster.node(1);
    // An owner that nobody knows the address of.
    one.knows(50, 1, 77);
    let reserved = one.carry_out(reserve("50:a"), LONG, Via::Caller).await;
    let expected = ResponseBody::Reserved {
        decision: degraded("50:a").unwrap(),
        reservation: None,
    };
    assert_eq!(reserved, expected);
    let failed = one.carry_out(refund("50:a"), LONG, Via::Caller).await;
    assert_eq!(failed, ResponseBody::Failed(WireError::Unavailable));
}

#[tokio::test]
async fn inspecting_a_key_of_another_node_names_the_owner() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let inspect = async |key| {
        let request = AdminRequest::Inspect(target(key));
        Service::admin(&*cluster.node(1).clustered, &request).await
    };
    let expected = WireError::NotOwner {
        slot: 20,
        epoch: 1,
        owner: 2,
    };
    assert_eq!(inspect("20:a").await, AdminResponse::Failed(expected));
    let own = inspect("10:a").await;
    assert!(matches!(own, AdminResponse::Inspected(_)));
}
