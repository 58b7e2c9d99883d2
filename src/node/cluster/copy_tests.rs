//! Replicas that catch up by bulk, over real connections, while the owner goes on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::hold::{Hold, Served};
use super::pull::{Asked, CaughtUp, Pull};
use crate::limiter::policy::Durability;
use crate::node::links::LinkEvent;
use crate::node::links::tests::{TestNode, assert_same, keys, reign};
use crate::node::slots::{Installation, NewState};
use crate::protocol::bulk::BulkRequest;
use crate::transport::certs::Authority;
use crate::types::{Epoch, NodeId, Position, Slot};

/// Answers the next request for bulk, granting meanwhile.
async fn give(owner: &mut TestNode, granting: usize) {
    let (from, request, chunks) = owner.bulk.recv().await.unwrap();
    let BulkRequest::CatchUp { slots } = request else {
        panic!("{request:?}");
    };
    let asked = slots.into_iter().map(|(slot, epoch, at)| {
        let own = at.map(Position::from);
        (Slot::new(slot).unwrap(), (Epoch::from(epoch), own))
    });
    let asked: Asked = asked.collect();
    let feed = |slots: &_| owner.links.feed(from, slots);
    let served = Served::as_asked(&owner.engine, &asked, feed).unwrap();
    let hold = Hold::new(Arc::clone(&owner.engine), chunks, 1 << 30);
    let grant = async {
        for part in keys(granting..granting + 200).chunks(20) {
            let waits = owner.grant(part, Durability::Process);
            let kept = owner
                .engine
                .committer
                .kept(waits[0].ticket, Durability::Process);
            kept.await.unwrap();
        }
    };
    tokio::join!(hold.catch_up(served), grant);
}

/// Asks for slots as they are asked for; what has come.
async fn fetch(replica: &TestNode, owner: NodeId, asked: Asked) -> Vec<CaughtUp> {
    let fetcher = replica.tell(|net| net.fetcher()).await;
    let slots = asked
        .iter()
        .map(|(slot, (epoch, at))| (slot.number(), (*epoch).into(), at.map(Into::into)));
    let request = BulkRequest::CatchUp {
        slots: slots.collect(),
    };
    let reader = fetcher.fetch(owner, &request).await.unwrap();
    let mut caught_up = Vec::new();
    let pull = Pull::new(reader, Arc::new(AtomicU64::new(0)), 1 << 30);
    pull.catch_up(&asked, &mut caught_up).await.unwrap();
    caught_up
}

fn follow(replica: &TestNode, epoch: Epoch, caught_up: Vec<CaughtUp>) {
    let installations = caught_up.into_iter().map(|it| Installation {
        slot: it.slot,
        n: it.at.n,
        register: vec![1],
        clock: it.clock,
        state: it.rows.map_or(NewState::Own, NewState::Rows),
    });
    let installations = installations.collect();
    replica.engine.install(epoch, installations).unwrap();
    let slots: Vec<_> = Slot::all().map(|slot| (slot, epoch)).collect();
    replica.links.follow(&slots);
}

#[tokio::test]
async fn a_replica_catches_up_while_the_owner_goes_on_and_again_if_it_has_all() {
    let authority = Authority::create("test").unwrap();
    // Without a directory, what has one replica is in no commit.
    let dir = tempfile::tempdir().unwrap();
    let mut owner = TestNode::start_in(&authority, 1, dir.path());
    let replica = TestNode::start(&authority, 2);
    let epoch = reign(owner.id());
    owner.serve(epoch, &[owner.id()]);
    replica.hold(epoch);
    let waits = owner.grant(&keys(0..300), Durability::Process);
    let kept = owner
        .engine
        .committer
        .kept(waits[0].ticket, Durability::Process);
    kept.await.unwrap();
    owner.knows(&[&replica]).await;
    replica.knows(&[&owner]).await;
    let behind = replica.links.next_event().await;
    assert!(matches!(behind, LinkEvent::Behind { .. }), "{behind:?}");

    replica.links.restart(owner.id(), &Slot::all().collect());
    let asked: Asked = Slot::all().map(|slot| (slot, (epoch, None))).collect();
    let (caught_up, ()) = {
        let id = owner.id();
        let fetch = fetch(&replica, id, asked);
        tokio::join!(fetch, give(&mut owner, 200))
    };
    assert_eq!(caught_up.len(), Slot::all().len());
    assert!(caught_up.iter().all(|it| it.rows.is_some()));
    follow(&replica, epoch, caught_up);
    replica.all_in_sync(&owner).await;
    let more = keys(0..20);
    assert_eq!(owner.granted(&more, Durability::Fsync).await, more);
    // It is no replica yet: nobody waits for what it takes in.
    let is_same = |slot| owner.engine.table.position(slot) == replica.engine.table.position(slot);
    while !Slot::all().all(is_same) {
        tokio::task::yield_now().await;
    }
    assert_same(&owner.engine, &replica.engine);

    let own = |slot| (slot, (epoch, Some(replica.engine.table.position(slot))));
    let asked: Asked = Slot::all().map(own).collect();
    let other = Epoch {
        counter: 6,
        ..epoch
    };
    let id = owner.id();
    let (again, ()) = tokio::join!(fetch(&replica, id, asked), give(&mut owner, 0));
    assert!(again.iter().all(|it| it.rows.is_none()));
    assert_eq!(again.len(), Slot::all().len());
    let asked: Asked = Slot::all().map(|slot| (slot, (other, None))).collect();
    let (none, ()) = tokio::join!(fetch(&replica, id, asked), give(&mut owner, 0));
    assert_eq!(none, []);
}
