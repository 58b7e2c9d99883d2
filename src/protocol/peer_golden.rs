//! Every message between nodes byte for byte: a vector that changes is a wire format that broke.
#![cfg(feature = "server")]

use serde::Serialize;

use super::bulk::{BulkChunk, BulkRefusal, BulkRequest, WireRow};
use super::frame::{decode, encode};
use super::golden::{hex, pinned};
use super::ownership::{
    WireBecoming, WireConfiguration, WireEpoch, WireMessage, WirePosition, WireProposal,
    WireRecord, WireRefused, WireSealed, WireSlots,
};
use super::peer::{
    PeerAnswer, PeerFrame, PeerHello, PeerRefusal, PeerWelcome, Purpose, WireNode, WireStanding,
};
use crate::types::{Slot, SlotSet};

const EPOCH: WireEpoch = WireEpoch {
    counter: 300,
    node: 1,
};

fn configuration() -> WireConfiguration {
    WireConfiguration {
        version: 2,
        epoch: EPOCH,
        owner: 1,
        replicas: vec![1, 200],
    }
}

fn slots() -> WireSlots {
    let numbers = [0, 9, 64].map(|n| Slot::new(n).unwrap());
    (&numbers.into_iter().collect::<SlotSet>()).into()
}

fn position() -> WirePosition {
    WirePosition { epoch: EPOCH, n: 5 }
}

#[test]
fn hellos_keep_their_bytes() {
    let hello = |purpose| PeerHello {
        oldest: 1,
        newest: 1,
        cluster: 5,
        slot_count: 4096,
        node: 300,
        boot: 7,
        address: "a:1".to_owned(),
        agent: "drl".to_owned(),
        purpose,
    };
    let purposes = [
        (Purpose::Control, "00"),
        (Purpose::Requests, "01"),
        (Purpose::Bulk, "02"),
        (Purpose::Join, "03"),
        (Purpose::Replicate, "04"),
    ];
    for (purpose, last) in purposes {
        let golden = format!("110000000101058020ac020703613a310364726c{last}");
        pinned(&hello(purpose), &golden);
    }
    let welcome = |key_secret| PeerWelcome {
        version: 1,
        cluster: 5,
        slot_count: 4096,
        node: 300,
        boot: 7,
        address: "a:1".to_owned(),
        key_secret,
        in_flight_max: 8192,
    };
    pinned::<PeerAnswer>(&Ok(welcome(None)), "0f0000000001058020ac020703613a31008040");
    pinned::<PeerAnswer>(
        &Ok(welcome(Some(*b"0123456789abcdef"))),
        "1f0000000001058020ac020703613a3101303132333435363738396162636465668040",
    );
}

#[test]
fn refusals_keep_their_bytes() {
    let reason = || "x".to_owned();
    let cases = [
        (
            PeerRefusal::VersionMismatch {
                oldest: 1,
                newest: 2,
            },
            "0400000001000102",
        ),
        (
            PeerRefusal::Malformed { reason: reason() },
            "0400000001010178",
        ),
        (
            PeerRefusal::OtherCluster { cluster: 300 },
            "040000000102ac02",
        ),
        (
            PeerRefusal::OtherSlotCount { slot_count: 16 },
            "03000000010310",
        ),
        (
            PeerRefusal::NotAdmitted { reason: reason() },
            "0400000001040178",
        ),
        (PeerRefusal::SameNode { node: 300 }, "040000000105ac02"),
        (PeerRefusal::Unavailable, "020000000106"),
        (PeerRefusal::Removed { node: 300 }, "040000000107ac02"),
        (
            PeerRefusal::OldCopy { reason: reason() },
            "0400000001080178",
        ),
    ];
    for (refusal, golden) in cases {
        pinned::<PeerAnswer>(&Err(refusal), golden);
    }
}

#[test]
fn control_frames_keep_their_bytes() {
    let node = |standing| WireNode {
        node: 300,
        boot: 1,
        revision: 2,
        standing,
        weight: 3,
        policies: 4,
        addresses: vec!["a:1".to_owned()],
        certificate: "c".to_owned(),
        zone: "z".to_owned(),
    };
    let cases = [
        (
            PeerFrame::Roster(vec![
                node(WireStanding::Active),
                node(WireStanding::Draining),
                node(WireStanding::Left),
                node(WireStanding::Removed),
                node(WireStanding::Stopping),
            ]),
            "520000000105ac0201020003040103613a310163017aac0201020103040103613a310163017aac0201020203040103613a310163017aac0201020303040103613a310163017aac0201020403040103613a310163017a",
        ),
        (PeerFrame::RosterDigest(300), "0300000002ac02"),
        (
            PeerFrame::Policies {
                version: 3,
                hash: 300,
            },
            "040000000303ac02",
        ),
        (
            PeerFrame::Settings {
                version: 3,
                replicas: 1,
            },
            "03000000040301",
        ),
    ];
    for (frame, golden) in cases {
        pinned(&frame, golden);
    }
}

#[test]
fn ownership_messages_keep_their_bytes() {
    let sealed = WireSealed {
        slot: 300,
        chosen: Some(configuration()),
        accepted: Some((EPOCH, configuration())),
        at: position(),
        clock_ms: 1000,
        complete: true,
    };
    let refused = WireRefused {
        slot: 9,
        promised: EPOCH,
        chosen: None,
    };
    let proposal = WireProposal {
        slot: 9,
        base: configuration(),
        proposed: configuration(),
    };
    let record = WireRecord {
        slot: 9,
        chosen: configuration(),
    };
    let (ballot, refused) = (EPOCH, vec![refused]);
    let cases = [
        (
            WireMessage::Seal {
                ballot,
                slots: slots(),
            },
            "090000000000ac020102810401",
        ),
        (
            WireMessage::Sealed {
                ballot,
                slots: vec![sealed],
                refused: refused.clone(),
            },
            "2c0000000001ac020101ac020102ac0201010201c80101ac020102ac0201010201c801ac020105e807010109ac020100",
        ),
        (
            WireMessage::Accept {
                ballot,
                slots: vec![proposal],
            },
            "190000000002ac0201010902ac0201010201c80102ac0201010201c801",
        ),
        (
            WireMessage::Accepted {
                ballot,
                slots: slots(),
                refused,
            },
            "0f0000000003ac0201028104010109ac020100",
        ),
        (
            WireMessage::Digest {
                groups: vec![1, 300],
            },
            "0600000000040201ac02",
        ),
        (
            WireMessage::Chosen {
                records: vec![record],
            },
            "0d0000000005010902ac0201010201c801",
        ),
    ];
    for (message, golden) in cases {
        pinned(&PeerFrame::Ownership(message), golden);
    }
}

#[test]
fn what_replicas_tell_each_other_keeps_its_bytes() {
    let ballot = EPOCH;
    let cases = [
        (
            WireMessage::Become {
                ballot,
                slots: vec![WireBecoming {
                    slot: 9,
                    at: position(),
                    clock_ms: 1000,
                }],
            },
            "0d0000000006ac02010109ac020105e807",
        ),
        (
            WireMessage::Became {
                ballot,
                slots: slots(),
                refused: WireSlots::default(),
            },
            "0a0000000007ac02010281040100",
        ),
        (WireMessage::AskHeard { owner: 300 }, "040000000008ac02"),
        (
            WireMessage::Heard {
                owner: 300,
                lately: true,
            },
            "050000000009ac0201",
        ),
    ];
    for (message, golden) in cases {
        pinned(&PeerFrame::Ownership(message), golden);
    }
}

#[test]
fn bulk_requests_keep_their_bytes() {
    let cases = [
        (
            BulkRequest::PreCopy { slots: slots() },
            "050000000002810401",
        ),
        (
            BulkRequest::Rest {
                ballot: EPOCH,
                slots: vec![(9, position())],
                copied: true,
            },
            "0b00000001ac02010109ac02010501",
        ),
        (BulkRequest::Policies, "0100000002"),
        (
            BulkRequest::CatchUp {
                slots: vec![(9, EPOCH, None), (10, EPOCH, Some(position()))],
            },
            "10000000030209ac0201000aac020101ac020105",
        ),
    ];
    for (request, golden) in cases {
        pinned(&request, golden);
    }
}

fn pinned_chunk(chunk: &BulkChunk<'_>, golden: &str) {
    let mut frame = Vec::new();
    encode(chunk, &mut frame).unwrap();
    assert_eq!(hex(&frame), golden, "{chunk:?}");
    assert_eq!(decode::<BulkChunk<'_>>(&frame[4..]).as_ref(), Ok(chunk));
}

#[test]
fn bulk_chunks_keep_their_bytes() {
    let row = WireRow {
        id: 300,
        bytes: b"row",
    };
    let refusals = [
        BulkRefusal::NotHeld { slot: 9 },
        BulkRefusal::Busy,
        BulkRefusal::StorageFailed,
        BulkRefusal::Malformed {
            reason: "x".to_owned(),
        },
    ];
    let [not_held, busy, storage, malformed] = refusals.map(BulkChunk::Refused);
    let cases = [
        (
            BulkChunk::Rows {
                slot: 9,
                rows: vec![row],
            },
            "09000000000901ac0203726f77",
        ),
        (
            BulkChunk::SlotEnd {
                slot: 9,
                count: 1,
                digest: 300,
                at: position(),
                clock_ms: 1000,
            },
            "0b000000010901ac02ac020105e807",
        ),
        (BulkChunk::End, "0100000002"),
        (not_held, "03000000030009"),
        (busy, "020000000301"),
        (storage, "020000000302"),
        (malformed, "0400000003030178"),
        (BulkChunk::Policies(b"set"), "050000000403736574"),
        (
            BulkChunk::CopyEnd {
                slot: 9,
                at: position(),
                clock_ms: 1000,
                count: 3,
            },
            "090000000509ac020105e80703",
        ),
        (
            BulkChunk::Same {
                slot: 9,
                at: position(),
                clock_ms: 1000,
            },
            "080000000609ac020105e807",
        ),
        (BulkChunk::NotServed { slot: 9 }, "020000000709"),
    ];
    for (chunk, golden) in cases {
        pinned_chunk(&chunk, golden);
    }
}

/// Bytes and lists of bytes are written alike, so that a row may be told as either.
#[test]
fn raw_bytes_are_written_as_a_list_of_bytes_is() {
    #[derive(Serialize)]
    struct Listed<'a> {
        id: u128,
        bytes: &'a [u8],
    }
    let (id, bytes) = (300, b"row".as_slice());
    let mut pieces = Vec::new();
    encode(&WireRow { id, bytes }, &mut pieces).unwrap();
    let mut listed = Vec::new();
    encode(&Listed { id, bytes }, &mut listed).unwrap();
    assert_eq!(pieces, listed);
}
