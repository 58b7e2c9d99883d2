//! Slots that do not arrive as their holder says they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limiter::codec::quarantine_row;
use crate::limiter::transfer::{SlotDigest, row_hash};
use crate::node::cluster::pull::{Pull, PullError, Staged};
use crate::node::peers::PeerEvent;
use crate::node::peers::tests::couple;
use crate::protocol::bulk::{BulkChunk, BulkRequest, WireRow};
use crate::transport::certs::Authority;
use crate::types::{Epoch, NodeId, Position, Slot, SlotTime, StateId};

/// Where the slots were sealed.
const AT: Position = Position {
    epoch: Epoch {
        counter: 7,
        node: NodeId(1),
    },
    n: 3,
};

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// The end of a slot that has one row.
fn end(number: u16, change: impl FnOnce(&mut SlotDigest, &mut Position)) -> BulkChunk<'static> {
    let (id, row) = row(number);
    let (mut digest, mut at) = (SlotDigest::default(), AT);
    digest.add(row_hash(id, &row));
    change(&mut digest, &mut at);
    BulkChunk::SlotEnd {
        slot: number,
        count: digest.count,
        digest: digest.xor,
        at: at.into(),
        clock_ms: 5,
    }
}

fn row(number: u16) -> (StateId, Vec<u8>) {
    let id = StateId::first_of(slot(number));
    (id, quarantine_row(id, SlotTime::from_ms(5)))
}

/// What comes of slots 1 to 5 when their holder tells it so.
async fn told(chunks: Vec<BulkChunk<'static>>) -> Result<(Vec<u16>, usize), PullError> {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    let fetcher = two.tell(|net| net.fetcher()).await;
    let giving = async {
        let PeerEvent::Bulk { chunks: mut to, .. } = one.event().await else {
            panic!("a request for bulk");
        };
        for number in 1..=5 {
            let (id, bytes) = row(number);
            let rows = vec![WireRow {
                id: id.0,
                bytes: &bytes,
            }];
            let rows = BulkChunk::Rows { slot: number, rows };
            to.send(&rows).await.unwrap();
        }
        for chunk in chunks {
            to.send(&chunk).await.unwrap();
        }
        // Fails if the other end has heard enough.
        to.finish(&BulkChunk::End).await.ok();
    };
    let taking = async {
        let reader = fetcher.fetch(NodeId(1), &BulkRequest::Policies).await;
        let pull = Pull::new(reader.unwrap(), Arc::default(), 1 << 20);
        let expected: BTreeMap<Slot, Position> = (1..=4).map(|it| (slot(it), AT)).collect();
        let (rest, _line) = pull.rest(Staged::new(), &expected).await?;
        let whole = rest.slots.keys().map(|slot| slot.number()).collect();
        Ok((whole, rest.refused))
    };
    let ((), taken) = tokio::join!(giving, taking);
    taken
}

#[tokio::test]
async fn only_slots_that_were_asked_for_and_add_up_are_taken() {
    let ends = vec![
        end(1, |_, _| {}),
        end(2, |digest, _| digest.xor ^= 1),
        end(3, |digest, _| digest.count += 1),
        end(4, |_, at| at.epoch.counter -= 1),
        // Never asked for.
        end(5, |_, _| {}),
        // Told twice: nothing is left of it.
        end(1, |_, _| {}),
    ];
    assert_eq!(told(ends).await.unwrap(), (vec![1], 5));
}

#[tokio::test]
async fn what_cannot_be_ends_the_transfer() {
    let end_of_none = BulkChunk::SlotEnd {
        slot: 4096,
        count: 0,
        digest: 0,
        at: AT.into(),
        clock_ms: 0,
    };
    for senseless in [end_of_none, BulkChunk::Policies(b"x")] {
        let error = told(vec![senseless]).await.unwrap_err();
        assert!(matches!(error, PullError::Senseless(_)), "{error:?}");
    }
    // A row of another slot than it says.
    let stray = BulkChunk::Rows {
        slot: 9,
        rows: vec![WireRow {
            id: row(1).0.0,
            bytes: b"row",
        }],
    };
    let error = told(vec![stray]).await.unwrap_err();
    assert!(matches!(error, PullError::Staging(_)), "{error:?}");
}
