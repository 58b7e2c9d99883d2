//! Links that are cut, replicas that are slow or dead.

use super::*;
use crate::transport::CloseCode;

#[tokio::test]
async fn a_cut_link_is_made_anew_and_what_was_missed_is_caught_up_with() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    for round in 0..2 {
        let first = keys(round * 50..round * 50 + 20);
        let answered = owner.granted(&first, Durability::Process).await;
        assert_eq!(answered, first);
        assert_same(&owner.engine, &replica.engine);
        let visit = replica.links.replica.visit(owner.id()).unwrap();
        let code = CloseCode::Interrupted;
        visit
            .connection
            .close(code.number(), code.as_str().as_bytes());
        // Counted here, and not answered before the replica has it.
        for part in keys(round * 50 + 20..round * 50 + 50).chunks(7) {
            let waits = owner.grant(part, Durability::Process);
            let kept = owner
                .engine
                .committer
                .kept(waits[0].ticket, Durability::Process);
            kept.await.unwrap();
        }
        replica.follow(&owner, reign(owner.id())).await;
    }
    let last = keys(0..200);
    assert_eq!(owner.granted(&last, Durability::Fsync).await, last);
    assert_same(&owner.engine, &replica.engine);
    owner.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn what_a_cut_link_has_not_brought_is_never_answered() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    let before = owner.engine.table.position(Slot::new(0).unwrap()).epoch;
    owner.tell(|net| net.set_targets(Vec::new())).await;
    replica.stop().await;
    let answered = owner.granted(&keys(0..20), Durability::Process).await;
    assert_eq!(answered, Vec::<String>::new());
    assert_eq!(before, reign(owner.id()));
    owner.stop().await;
}

#[tokio::test]
async fn of_three_one_may_die_and_all_that_was_answered_is_on_two() {
    let authority = Authority::create("test").unwrap();
    let nodes = [1, 2, 3].map(|n| TestNode::start(&authority, n));
    let [owner, two, three] = nodes;
    let epoch = reign(owner.id());
    owner.serve(epoch, &[owner.id(), two.id(), three.id()]);
    // A link that comes finds them there, as one behind.
    two.hold(epoch);
    three.hold(epoch);
    for replica in [&two, &three] {
        owner.knows(&[&two, &three]).await;
        replica.knows(&[&owner]).await;
        replica.follow(&owner, epoch).await;
    }
    let first = keys(0..100);
    assert_eq!(owner.granted(&first, Durability::Process).await, first);
    three.stop().await;
    let second = keys(50..150);
    for part in second.chunks(10) {
        assert_eq!(owner.granted(part, Durability::Fsync).await, part);
    }
    assert_same(&owner.engine, &two.engine);
    owner.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_was_promised_elsewhere_is_told_to_the_owner() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    let slot = Slot::new(9).unwrap();
    let sealed: SlotSet = std::iter::once(slot).collect();
    replica.engine.freeze(&sealed).await.unwrap();
    replica.links.close(&sealed);
    let promised = Epoch {
        counter: 8,
        node: replica.id(),
    };
    replica.links.deaf(owner.id(), &[(slot, promised)]);
    let (peer, slots) = (replica.id(), sealed);
    let told = [
        owner.links.next_event().await,
        owner.links.next_event().await,
    ];
    let deaf = vec![(slot, promised)];
    assert_eq!(
        told,
        [
            LinkEvent::OutOfSync { peer, slots },
            LinkEvent::Deaf { peer, slots: deaf }
        ]
    );
    owner.stop().await;
    replica.stop().await;
}
