//! Messages between nodes, from any bytes and at their bounds.
#![cfg(feature = "server")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::bulk::{BULK_FRAME_BYTES_MAX, BulkChunk, BulkRequest, ROW_OVERHEAD_BYTES, WireRow};
use super::frame::{decode, encode, encode_within};
use super::hello::VERSIONS;
use super::ownership::{
    PROPOSALS_MAX, RECORDS_MAX, WireConfiguration, WireEpoch, WireMessage, WirePosition, WireRecord,
};
use super::peer::{PeerAnswer, PeerFrame, PeerHello, Purpose, common_version};

#[test]
fn versions_meet_at_the_newest_that_both_speak() {
    let hello = |oldest, newest| PeerHello {
        oldest,
        newest,
        cluster: 1,
        slot_count: 4096,
        node: 1,
        boot: 1,
        address: "a:1".to_owned(),
        agent: String::new(),
        purpose: Purpose::Control,
    };
    assert_eq!(common_version(&hello(0, 9)), Some(VERSIONS.1));
    assert_eq!(common_version(&hello(VERSIONS.1 + 1, 9)), None);
    assert_eq!(common_version(&hello(0, 0)), None);
}

#[test]
fn a_list_above_its_bound_is_refused_whatever_it_holds() {
    let chosen = WireConfiguration {
        version: 1,
        epoch: WireEpoch {
            counter: 1,
            node: 1,
        },
        owner: 1,
        replicas: vec![1],
    };
    for (count, fits) in [(RECORDS_MAX, true), (RECORDS_MAX + 1, false)] {
        let record = WireRecord {
            slot: 1,
            chosen: chosen.clone(),
        };
        let records = vec![record; count];
        let message = PeerFrame::Ownership(WireMessage::Chosen { records });
        let mut frame = Vec::new();
        encode(&message, &mut frame).unwrap();
        assert_eq!(decode::<PeerFrame>(&frame[4..]).is_ok(), fits);
    }
    // An announced length takes no memory by itself.
    let mut bytes = vec![0, 2, 1, 1];
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(decode::<PeerFrame>(&bytes).is_err());
    const { assert!(PROPOSALS_MAX < u16::MAX as usize) };
}

#[test]
fn a_full_chunk_of_rows_fits_its_frame() {
    let row = [7; 978];
    let each = row.len() + ROW_OVERHEAD_BYTES;
    let count = (BULK_FRAME_BYTES_MAX - 16) / each;
    let row = WireRow {
        id: u128::MAX,
        bytes: &row,
    };
    let chunk = BulkChunk::Rows {
        slot: 4095,
        rows: vec![row; count],
    };
    let mut frame = Vec::new();
    encode_within(BULK_FRAME_BYTES_MAX, &chunk, &mut frame).unwrap();
    assert_eq!(decode::<BulkChunk<'_>>(&frame[4..]).as_ref(), Ok(&chunk));

    let at = WirePosition {
        epoch: WireEpoch {
            counter: u64::MAX,
            node: u128::MAX,
        },
        n: u64::MAX,
    };
    let rest = BulkRequest::Rest {
        ballot: at.epoch,
        slots: (0..4096).map(|slot| (slot, at)).collect(),
    };
    frame.clear();
    encode_within(BULK_FRAME_BYTES_MAX, &rest, &mut frame).unwrap();
    assert_eq!(decode::<BulkRequest>(&frame[4..]).as_ref(), Ok(&rest));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), first in 0_u8..8) {
        let mut begun = vec![first];
        begun.extend_from_slice(&bytes);
        for bytes in [bytes, begun] {
            if let Ok(PeerFrame::Ownership(message)) = decode::<PeerFrame>(&bytes) {
                prop_assert_eq!(message.clone().split(), [message]);
            }
            // Outcomes do not matter, only that there are some.
            drop(decode::<PeerHello>(&bytes));
            drop(decode::<PeerAnswer>(&bytes));
            drop(decode::<BulkRequest>(&bytes));
            drop(decode::<BulkChunk<'_>>(&bytes));
        }
    }
}
