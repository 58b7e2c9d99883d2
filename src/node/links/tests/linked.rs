//! What is answered as replicated is in the replica's table and journal.

use super::*;

#[tokio::test]
async fn what_is_answered_is_in_the_replicas_table() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    for round in 0..6 {
        let keys = keys(round * 10..round * 10 + 30);
        let durability = [Durability::Process, Durability::Fsync][round % 2];
        let before: Vec<_> = Slot::all()
            .map(|slot| owner.engine.table.position(slot))
            .collect();
        assert_eq!(owner.granted(&keys, durability).await, keys);
        for (slot, before) in Slot::all().zip(before) {
            assert!(replica.engine.table.position(slot) >= before);
        }
        assert_same(&owner.engine, &replica.engine);
    }
    assert_eq!(owner.refused().await + replica.refused().await, 0);
    owner.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn what_is_answered_is_in_the_replicas_journal() {
    let authority = Authority::create("test").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let owner = TestNode::start(&authority, 1);
    let replica = TestNode::with(&authority, open(Some(dir.path()), 2), None);
    let epoch = reign(owner.id());
    owner.serve(epoch, &[owner.id(), replica.id()]);
    replica.hold(epoch);
    owner.knows(&[&replica]).await;
    replica.knows(&[&owner]).await;
    replica.follow(&owner, epoch).await;
    let keys = keys(0..300);
    for part in keys.chunks(20) {
        assert_eq!(owner.granted(part, Durability::Process).await, part);
    }
    assert_same(&owner.engine, &replica.engine);
    replica.stop().await;
    let reopened = open(Some(dir.path()), 2);
    assert_same(&owner.engine, &reopened);
    owner.stop().await;
}

#[tokio::test]
async fn clocks_of_the_replica_follow_and_both_are_heard_although_nothing_is_granted() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    let slot = Slot::new(5).unwrap();
    let clock = |node: &TestNode| node.engine.table.slot_now(slot, node.engine.now());
    let before = clock(&owner);
    while clock(&replica) <= before {
        tokio::task::yield_now().await;
    }
    assert!(clock(&replica) <= clock(&owner));
    assert_eq!(replica.links.heard().take(), [owner.id()]);
    while !replica.links.heard().take().contains(&owner.id()) {
        tokio::task::yield_now().await;
    }
    assert!(owner.links.heard().take().contains(&replica.id()));
    owner.stop().await;
    replica.stop().await;
}
