//! Ends that no honest node has: what they say is refused, counted, and moves nothing.

use super::*;
use crate::node::peers::{DialledLink, LinkDoor, Passage, VisitingLink};
use crate::protocol::frame::encode_within;
use crate::protocol::ownership::WirePosition;
use crate::protocol::replicate::{LINK_FRAME_BYTES_MAX, OwnerFrame, ReplicaFrame};
use crate::transport::CloseCode;

/// A replica's end that says the same on every link and then waits how it ends.
#[derive(Debug)]
pub(super) struct Liar {
    pub(super) says: Vec<u8>,
    pub(super) ended: mpsc::Sender<Option<CloseCode>>,
}

impl LinkDoor for Liar {
    fn carry(&self, mut link: VisitingLink) -> Passage<'_> {
        Box::pin(async move {
            link.send.write_all(&self.says).await.ok();
            let code = code(link.connection.closed().await);
            // Nobody may listen any more.
            self.ended.send(code).await.ok();
            None
        })
    }
}

fn code(ended: quinn::ConnectionError) -> Option<CloseCode> {
    match ended {
        quinn::ConnectionError::ApplicationClosed(close) => {
            CloseCode::from_number(close.error_code)
        }
        _other => None,
    }
}

/// How the next link ends that is not just replaced, as it is when a session is made anew.
pub(super) async fn end(ends: &mut mpsc::Receiver<Option<CloseCode>>) -> Option<CloseCode> {
    loop {
        let code = ends.recv().await.unwrap();
        // Dropped while it was dialled, a connection ends with the first code.
        if !matches!(code, Some(CloseCode::Renewed | CloseCode::Done)) {
            return code;
        }
    }
}

fn frame(frame: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_within(LINK_FRAME_BYTES_MAX, frame, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_replica_that_says_what_cannot_be_is_cut_off_again_and_again() {
    let authority = Authority::create("test").unwrap();
    let owner = TestNode::start(&authority, 1);
    let at = WirePosition {
        epoch: reign(owner.id()).into(),
        n: 1,
    };
    let refused = (&SlotSet::EMPTY).into();
    let lies = [
        vec![5, 0, 0, 0, 99, 1, 1, 1, 1],
        vec![255, 255, 255, 255, 0],
        frame(&ReplicaFrame::Applied {
            through: 9,
            refused,
        }),
        frame(&ReplicaFrame::Synced { through: 9 }),
        frame(&ReplicaFrame::InSync {
            slots: vec![(SLOT_COUNT, at)],
        }),
    ];
    for (n, says) in (2..).zip(lies) {
        let (ended, mut ends) = mpsc::channel(8);
        let liar = Arc::new(Liar { says, ended });
        let replica = TestNode::with(&authority, open(None, n), Some(liar));
        let before = owner.refused().await;
        owner.serve(
            Epoch {
                counter: 7 + u64::try_from(n).unwrap(),
                node: owner.id(),
            },
            &[owner.id(), replica.id()],
        );
        owner.knows(&[&replica]).await;
        replica.knows(&[&owner]).await;
        for _ in 0..2 {
            assert_eq!(end(&mut ends).await, Some(CloseCode::BadFrame));
        }
        assert!(owner.refused().await >= before + 2);
        replica.stop().await;
    }
    owner.stop().await;
}

/// Sends bytes on a link of its own, and how the link ends.
async fn ends(link: &mut DialledLink, says: &[u8]) -> Option<CloseCode> {
    link.send.write_all(says).await.unwrap();
    code(link.connection.closed().await)
}

fn commit(number: u64, groups: &[u8]) -> Vec<u8> {
    frame(&OwnerFrame::Commit {
        number,
        stamp_ms: 1,
        last: true,
        groups,
    })
}

/// A group of slot 5 without entries, for a reign of whoever sends it.
const GROUP: [u8; 9] = [5, 0, 7, 1, 0, 0, 0, 0, 0];

#[tokio::test]
async fn an_owner_that_sends_what_cannot_be_is_cut_off_and_changes_nothing() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    let forger = TestNode::start(&authority, 3);
    let dialer = forger.dialer(credentials(&authority, "node-3")).await;
    let clocks = vec![(SLOT_COUNT, 7, 1)];
    let lies = [
        vec![5, 0, 0, 0, 99, 1, 1, 1, 1],
        vec![255, 255, 255, 255, 0],
        [commit(2, &GROUP), commit(1, &GROUP)].concat(),
        [commit(2, &GROUP), commit(2, &GROUP)].concat(),
        commit(1, &GROUP[..8]),
        commit(1, &[0; 40]),
        frame(&OwnerFrame::Clocks { slots: clocks }),
    ];
    for (n, says) in (1..).zip(lies) {
        let mut link = dialer.dial(&replica.identity).await.unwrap();
        assert_eq!(ends(&mut link, &says).await, Some(CloseCode::BadFrame));
        assert_eq!(replica.refused().await, n);
    }
    assert_eq!(
        owner.granted(&keys(0..50), Durability::Process).await.len(),
        50
    );
    assert_same(&owner.engine, &replica.engine);
    for node in [owner, replica, forger] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_node_cannot_bring_commits_and_clocks_of_another_owners_slots() {
    let authority = Authority::create("test").unwrap();
    let (owner, replica) = couple(&authority).await;
    let forger = TestNode::start(&authority, 3);
    let dialer = forger.dialer(credentials(&authority, "node-3")).await;
    let mut link = dialer.dial(&replica.identity).await.unwrap();
    let clocks = Slot::all().map(|slot| (slot.number(), 7, u64::MAX / 2));
    let slots = clocks.collect();
    let says = [frame(&OwnerFrame::Clocks { slots }), commit(1, &GROUP)].concat();
    link.send.write_all(&says).await.unwrap();
    // What is acknowledged was taken care of before.
    assert!(link.stream.read_chunk(1, true).await.unwrap().is_some());
    let slot = Slot::new(5).unwrap();
    let clock = |node: &TestNode| node.engine.table.slot_now(slot, node.engine.now());
    assert!(clock(&replica) <= clock(&owner));
    assert_same(&owner.engine, &replica.engine);
    for node in [owner, replica, forger] {
        node.stop().await;
    }
}
