//! Commits out to links, and waits that end as they should.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;

use super::{Outgoing, Replication};
use crate::config::AfterPowerLoss;
use crate::limiter::commit_record::{self, write_groups};
use crate::limiter::policy::{Durability, Limit, Policy, PolicySet};
use crate::node::batch::OnCold;
use crate::node::engine::Engine;
use crate::node::start::{Birth, EngineOptions};
use crate::protocol::client::{PolicyRef, RequestBody, ResponseBody, Target, WireSource};
use crate::protocol::error::WireError;
use crate::protocol::frame::FrameBuffer;
use crate::protocol::replicate::{GROUPS_BYTES_MAX, LINK_FRAME_BYTES_MAX, OwnerFrame};
use crate::server::{Kept, Wait};
use crate::types::{
    Configuration, Epoch, MonoTime, NodeId, Position, Replicas, Slot, SlotSet, SlotTime,
};

mod engine;

const ME: NodeId = NodeId(7);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const EPOCH: Epoch = Epoch {
    counter: 300,
    node: ME,
};

/// Links that take so many frames.
#[derive(Default)]
struct Links {
    sent: Mutex<Vec<(NodeId, u64, Vec<u8>)>>,
    closed: Mutex<Vec<(NodeId, u64)>>,
    full: Mutex<bool>,
}

impl Outgoing for Links {
    fn send(&self, peer: NodeId, link: u64, frame: Vec<u8>) -> bool {
        let has_room = !*self.full.lock();
        if has_room {
            self.sent.lock().push((peer, link, frame));
        }
        has_room
    }

    fn close(&self, peer: NodeId, link: u64) {
        self.closed.lock().push((peer, link));
    }
}

impl Links {
    /// What was sent, in words.
    fn take(&self) -> Vec<String> {
        let sent = std::mem::take(&mut *self.sent.lock());
        let words = sent.iter().map(|(peer, link, frame)| {
            let mut buffer = FrameBuffer::with_max(LINK_FRAME_BYTES_MAX);
            buffer.push(frame);
            let body = buffer.take().unwrap().unwrap();
            match crate::protocol::frame::decode(body).unwrap() {
                OwnerFrame::Commit {
                    number,
                    stamp_ms,
                    last,
                    groups,
                } => format!(
                    "{}.{link}: {number} at {stamp_ms} {last} {}",
                    peer.0,
                    groups.len()
                ),
                OwnerFrame::Sync { through } => format!("{}.{link}: sync {through}", peer.0),
                other => format!("{other:?}"),
            }
        });
        words.collect()
    }
}

fn slot(n: u16) -> Slot {
    Slot::new(n).unwrap()
}

/// A record of groups of these slots at such commits, each of so many bytes in all.
fn record(number: u64, groups: &[(u16, u64, usize)]) -> Vec<u8> {
    let groups = groups.iter().map(|(on, n, bytes)| {
        let mut group = slot(*on).number().to_le_bytes().to_vec();
        // The epoch's counter, the commit, and what the clock shows.
        group.extend_from_slice(&[0xac, 0x02, u8::try_from(*n).unwrap(), 0x80, 0x01]);
        let entries = bytes - group.len() - 4;
        group.extend_from_slice(&u32::try_from(entries).unwrap().to_le_bytes());
        group.resize(*bytes, 9);
        group
    });
    let groups: Vec<Vec<u8>> = groups.collect();
    let mut record = Vec::new();
    let head = (number, SlotTime::from_ms(55), ME);
    write_groups(&mut record, head, groups.iter().map(Vec::as_slice));
    record
}

/// Slots 1 and 2 on A and B, slot 3 here alone; A, on link 5, is in sync for slot 1.
fn replication() -> (Replication, Arc<Links>) {
    let replication = Replication::new(ME);
    let links = Arc::new(Links::default());
    replication.attach(Arc::clone(&links) as Arc<dyn Outgoing>);
    replication.connected(A, 5);
    for (n, nodes) in [(1, &[ME, A, B][..]), (2, &[ME, A, B]), (3, &[ME])] {
        let chosen = Configuration {
            version: 1,
            epoch: EPOCH,
            owner: ME,
            replicas: Replicas::of(nodes),
        };
        let in_sync = if n == 1 { &[A][..] } else { &[] };
        replication.serve(slot(n), &chosen, in_sync);
    }
    (replication, links)
}

fn wait(ticket: u64, on: u16, durability: Durability) -> Wait {
    Wait {
        ticket,
        durability,
        slot: slot(on),
    }
}

/// What the wait gives at once.
async fn now(replication: &Replication, wait: Wait) -> Option<Kept> {
    let mut kept = Box::pin(replication.kept(wait));
    poll_fn(|cx| match kept.as_mut().poll(cx) {
        Poll::Ready(kept) => Poll::Ready(Some(kept)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_grant_waits_for_a_replica_and_is_released_by_its_acknowledgement() {
    let (replication, links) = replication();
    replication.commit(1, &record(1, &[(1, 1, 20), (3, 1, 20)]), false);
    assert_eq!(links.take(), ["1.5: 1 at 55 true 20"]);
    let granted = wait(1, 1, Durability::None);
    assert_eq!(now(&replication, granted).await, None);
    let waiting = replication.kept(granted);
    let acknowledge = async {
        tokio::task::yield_now().await;
        assert!(replication.applied(A, 5, 1, &SlotSet::EMPTY));
    };
    let (kept, ()) = tokio::join!(waiting, acknowledge);
    assert_eq!(kept, Kept::All);
    assert!(!replication.is_lost(granted));
}

#[tokio::test]
async fn a_sync_is_asked_for_where_somebody_waits_for_one() {
    let (replication, links) = replication();
    let wanted = replication.wants_sync();
    replication.commit(1, &record(1, &[(1, 1, 19)]), false);
    assert_eq!(links.take(), ["1.5: 1 at 55 true 19", "1.5: sync 1"]);
    drop(wanted);
    assert!(replication.applied(A, 5, 1, &SlotSet::EMPTY));
    let granted = wait(1, 1, Durability::Fsync);
    assert_eq!(now(&replication, granted).await, None);
    assert!(replication.synced(A, 5, 1));
    assert_eq!(now(&replication, granted).await, Some(Kept::All));
    replication.commit(2, &record(2, &[(1, 2, 19)]), false);
    assert_eq!(links.take(), ["1.5: 2 at 55 true 19"]);
    assert_eq!(now(&replication, wait(2, 1, Durability::Fsync)).await, None);
    assert_eq!(links.take(), ["1.5: sync 2"]);
}

#[tokio::test]
async fn without_a_majority_just_that_slots_answers_are_lost() {
    let (replication, _links) = replication();
    replication.commit(1, &record(1, &[(1, 1, 12), (2, 1, 12), (3, 1, 12)]), false);
    assert!(replication.applied(A, 5, 1, &SlotSet::EMPTY));
    let [one, two, three] = [1, 2, 3].map(|n| wait(1, n, Durability::Process));
    assert_eq!(now(&replication, one).await, None);
    assert!(!replication.some_without_majority());
    replication.tick(MonoTime::from_ns(1));
    replication.tick(MonoTime::from_ns(600_000_000));
    assert!(replication.some_without_majority());
    assert_eq!(
        [1, 2, 3].map(|n| replication.has_majority(slot(n))),
        [true, false, true]
    );
    assert_eq!(now(&replication, one).await, Some(Kept::Some));
    assert_eq!(
        [one, two, three].map(|it| replication.is_lost(it)),
        [false, true, false]
    );
    // It comes back.
    let at = Position { epoch: EPOCH, n: 1 };
    replication.in_sync(A, 5, &[(slot(2), at)]);
    assert!(!replication.some_without_majority() && replication.has_majority(slot(2)));
    assert!(replication.is_lost(two));
    assert!(!replication.is_lost(wait(2, 2, Durability::Process)));
}

/// Whether that is so at once.
async fn settled(replication: &Replication, slots: &[u16]) -> bool {
    let slots: SlotSet = slots.iter().map(|n| slot(*n)).collect();
    let mut settled = Box::pin(replication.settled(&slots));
    poll_fn(|cx| Poll::Ready(settled.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn a_seal_waits_for_what_was_granted_in_its_slots_and_for_no_others() {
    let (replication, _links) = replication();
    assert!(settled(&replication, &[1, 2, 3]).await);
    replication.commit(1, &record(1, &[(1, 1, 12), (2, 1, 12), (3, 1, 12)]), false);
    assert!(settled(&replication, &[3]).await);
    let sealed = SlotSet::from_iter([slot(1)]);
    let acknowledge = async {
        tokio::task::yield_now().await;
        assert!(!settled(&replication, &[1]).await);
        assert!(replication.applied(A, 5, 1, &SlotSet::EMPTY));
    };
    tokio::join!(replication.settled(&sealed), acknowledge);
    // Slot 2 has no majority, and holds the watermark back.
    assert_eq!(
        now(&replication, wait(1, 1, Durability::Process)).await,
        None
    );
    assert!(!settled(&replication, &[2]).await);
    let _wanted = replication.wants_sync();
    assert!(!settled(&replication, &[1]).await, "it is not synced there");
    assert!(replication.synced(A, 5, 1));
    assert!(settled(&replication, &[1]).await);
    replication.tick(MonoTime::from_ns(1));
    replication.tick(MonoTime::from_ns(600_000_000));
    assert!(settled(&replication, &[2]).await, "lost is lost");
}

#[test]
fn a_node_is_cut_off_when_none_of_its_slots_of_several_replicas_has_a_majority() {
    let (replication, _links) = replication();
    let later = |ms: u64| replication.tick(MonoTime::from_ns(ms * 1_000_000));
    later(1);
    later(600);
    // Slot 2 lacks one, slot 1 does not.
    assert!(replication.some_without_majority() && !replication.is_cut_off());
    replication.lost(A, 5);
    later(700);
    assert!(!replication.is_cut_off());
    later(1300);
    assert!(replication.is_cut_off());
    replication.connected(A, 6);
    let at = Position { epoch: EPOCH, n: 0 };
    replication.in_sync(A, 6, &[(slot(1), at)]);
    assert!(!replication.is_cut_off());
}

#[tokio::test]
async fn a_full_link_is_given_up_and_no_commit_waits_for_it() {
    let (replication, links) = replication();
    *links.full.lock() = true;
    replication.commit(1, &record(1, &[(1, 1, 12)]), false);
    assert_eq!(*links.closed.lock(), [(A, 5)]);
    assert!(replication.peers().iter().all(|peer| !peer.linked));
    replication.commit(2, &record(2, &[(1, 2, 12)]), false);
    assert_eq!(links.closed.lock().len(), 1);
}

#[tokio::test]
async fn a_large_commit_is_cut_between_groups_and_a_group_too_large_is_left_out() {
    let (replication, links) = replication();
    let half = GROUPS_BYTES_MAX / 2 + 1;
    let groups = [(1, 1, half), (2, 1, half)];
    replication.commit(1, &record(1, &groups), false);
    let parts = [
        format!("1.5: 1 at 55 false {half}"),
        format!("1.5: 1 at 55 true {half}"),
    ];
    assert_eq!(links.take(), parts);
    replication.commit(2, &record(2, &[(1, 2, 2 * half)]), false);
    assert_eq!(links.take(), ["1.5: 2 at 55 true 0"]);
    assert!(replication.applied(A, 5, 2, &SlotSet::EMPTY));
    assert_eq!(replication.replicated().appended, 0, "A lacks slot 1 now");
    assert_eq!(replication.reports().len(), 2);
}

#[tokio::test]
async fn where_nothing_is_replicated_nothing_waits() {
    let replication = Replication::new(ME);
    replication.commit(1, &record(1, &[(3, 1, 12)]), false);
    let granted = wait(9, 3, Durability::Fsync);
    assert_eq!(now(&replication, granted).await, Some(Kept::All));
    assert!(!replication.is_active() && !replication.is_lost(granted));
}
