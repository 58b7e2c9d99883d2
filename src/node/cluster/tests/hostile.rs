//! A peer with a good certificate says what cannot be: all of it is refused, counted and logged, and
//! nothing changes owner.

use super::bed::{Bed, FORGER};
use crate::membership::identity::{Address, Identity};
use crate::membership::swim::{Swim, SwimConfig, SwimEffect, SwimEvent};
use crate::node::clock;
use crate::node::peer_wire::ownership_frames;
use crate::ownership::message::{Message, Proposal, SealedSlot};
use crate::protocol::bulk::{BulkChunk, BulkRefusal, BulkRequest};
use crate::protocol::ownership::WireMessage;
use crate::protocol::peer::{PeerFrame, WireNode, WireStanding};
use crate::types::{
    BootCounter, Configuration, Epoch, NodeId, Position, Replicas, Slot, SlotRecord, SlotSet,
};

const fn ballot(counter: u64, node: NodeId) -> Epoch {
    Epoch { counter, node }
}

/// What the forger would like to be chosen.
fn usurped(version: u64, epoch: Epoch) -> Configuration {
    Configuration {
        version,
        epoch,
        owner: FORGER,
        replicas: Replicas::one(FORGER),
    }
}

/// Messages that cannot be, each with its name.
fn senseless(slot: Slot, chosen: Configuration) -> Vec<(&'static str, Message)> {
    let (own, high) = (ballot(500, FORGER), ballot(500, chosen.owner));
    let slots: SlotSet = [slot].into_iter().collect();
    let sealed = SealedSlot {
        slot,
        chosen: None,
        accepted: None,
        at: Position::default(),
        clock: crate::types::SlotTime::from_ms(9),
        complete: true,
    };
    let seal = |ballot| Message::Seal {
        ballot,
        slots: slots.clone(),
    };
    let answer = |ballot| Message::Sealed {
        ballot,
        slots: vec![sealed],
        refused: Vec::new(),
    };
    let accepted = |ballot| Message::Accepted {
        ballot,
        slots: slots.clone(),
        refused: Vec::new(),
    };
    let next = chosen.version + 1;
    let propose = |base, proposed| Message::Accept {
        ballot: own,
        slots: vec![Proposal {
            slot,
            base,
            proposed,
        }],
    };
    let tell = |chosen| Message::Chosen {
        records: vec![SlotRecord { slot, chosen }],
    };
    let stolen = Configuration {
        owner: FORGER,
        replicas: Replicas::one(FORGER),
        ..chosen
    };
    let foreign = usurped(chosen.version, ballot(chosen.epoch.counter, FORGER));
    vec![
        ("a seal under the owner's ballot", seal(high)),
        (
            "a seal far above all numbers",
            seal(ballot(1 << 50, FORGER)),
        ),
        ("an answer to no seal", answer(high)),
        ("an answer to its own seal", answer(own)),
        ("an acceptance that was not asked for", accepted(high)),
        (
            "a proposal before the seal",
            propose(chosen, usurped(next, own)),
        ),
        (
            "a proposal that skips one",
            propose(chosen, usurped(next + 1, own)),
        ),
        (
            "a proposal on another base",
            propose(foreign, usurped(next, own)),
        ),
        ("a record that contradicts", tell(foreign)),
        ("a record whose owner did not win", tell(stolen)),
        (
            "a digest of the wrong size",
            Message::Digest { groups: vec![1; 3] },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_said_is_refused_and_nothing_changes_owner() {
    let mut bed = Bed::start().await;
    let (slot, chosen) = (bed.slot().await, bed.chosen().await);
    for (what, message) in senseless(slot, chosen) {
        let before = bed.refused().await;
        bed.send(ownership_frames(&message)).await;
        bed.refuses(what, before).await;
        // Twice is no better.
        bed.send(ownership_frames(&message)).await;
        bed.refuses(what, before + 1).await;
        assert_eq!(bed.chosen().await, chosen, "{what}");
        bed.is_unmoved(what).await;
    }
    let before = bed.refused().await;
    let nobody = WireNode {
        node: 67,
        boot: 1,
        revision: 1,
        standing: WireStanding::Active,
        weight: 0,
        policies: 0,
        addresses: Vec::new(),
        certificate: String::new(),
        zone: String::new(),
    };
    bed.send(vec![PeerFrame::Roster(vec![nobody])]).await;
    bed.refuses("a node without an address", before).await;
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_nobody_finishes_is_undone_and_its_late_proposal_is_refused() {
    let mut bed = Bed::start().await;
    let (slot, chosen) = (bed.slot().await, bed.chosen().await);
    let slots: SlotSet = [slot].into_iter().collect();
    let seal = |ballot| Message::Seal {
        ballot,
        slots: slots.clone(),
    };
    // The first is good; the same again, and one below it, are not.
    let own = ballot(500, FORGER);
    for (ballot, granted) in [(own, 1), (own, 0), (ballot(1, FORGER), 0)] {
        bed.send(ownership_frames(&seal(ballot))).await;
        let answer = loop {
            if let WireMessage::Sealed { slots, refused, .. } = bed.said.recv().await.unwrap() {
                break (slots.len(), refused.len());
            }
        };
        assert_eq!(answer, (granted, 1 - granted), "{ballot:?}");
    }
    // The owner takes its slot back under a higher number.
    while bed.chosen().await.epoch <= own {
        tokio::task::yield_now().await;
    }
    let taken_back = bed.chosen().await;
    let late = Message::Accept {
        ballot: own,
        slots: vec![Proposal {
            slot,
            base: chosen,
            proposed: usurped(chosen.version + 1, own),
        }],
    };
    bed.send(ownership_frames(&late)).await;
    loop {
        if let WireMessage::Accepted { slots, refused, .. } = bed.said.recv().await.unwrap() {
            assert_eq!((SlotSet::from(&slots).len(), refused.len()), (0, 1));
            break;
        }
    }
    assert_eq!(bed.chosen().await, taken_back);
    bed.is_unmoved("a late proposal").await;
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_were_not_sealed_are_not_told() {
    let mut bed = Bed::start().await;
    let (slot, owner) = (bed.slot().await, bed.owner);
    let fetcher = bed.forger.tell(|net| net.fetcher()).await;
    for (copied, node) in [(false, FORGER), (true, FORGER), (false, owner)] {
        let before = bed.refused().await;
        let request = BulkRequest::Rest {
            ballot: ballot(500, node).into(),
            slots: vec![(slot.number(), Position::default().into())],
            copied,
        };
        let mut reader = fetcher.fetch(owner, &request).await.unwrap();
        let told = reader.next().await.unwrap().unwrap();
        let number = slot.number();
        let expected = BulkChunk::Refused(BulkRefusal::NotHeld { slot: number });
        assert_eq!(told, expected);
        bed.refuses("a request for what was not sealed", before)
            .await;
    }
    bed.is_unmoved("asking").await;
    bed.end().await;
}

/// Gossip that another node than the forger wrote.
fn gossip_of(node: NodeId) -> Vec<u8> {
    let at = |port| Address::new(&format!("127.0.0.1:{port}")).unwrap();
    let me = Identity::new(node, at(1), BootCounter(1));
    let mut swim = Swim::new(me, SwimConfig::default(), 1);
    let to = Identity::new(NodeId(1), at(2), BootCounter(1));
    let effects = swim.step(clock::mono_now(), SwimEvent::Announce { to });
    let sent = effects.into_iter().find_map(|effect| match effect {
        SwimEffect::Send { bytes, .. } => Some(bytes),
        _ => None,
    });
    sent.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_and_forged_senders_in_gossip_are_refused() {
    let mut bed = Bed::start().await;
    let mut packets: Vec<Vec<u8>> = vec![gossip_of(NodeId(67)), gossip_of(bed.owner)];
    packets.extend((1..60).map(|n| (0..n * 17).map(|_| rand::random()).collect()));
    for packet in packets {
        let before = bed.refused().await;
        let (owner, what) = (bed.owner, format!("{packet:?}"));
        assert!(
            bed.forger
                .tell(move |net| net.send_datagram(owner, packet))
                .await
        );
        bed.refuses(&what, before).await;
    }
    bed.is_unmoved("gossip").await;
    let nodes = bed.admin.ring().await.unwrap().nodes;
    assert!(!nodes.iter().any(|node| node.node == 67), "{nodes:?}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_on_a_bulk_stream_are_refused() {
    let mut bed = Bed::start().await;
    let owner = bed.owner;
    let fetcher = bed.forger.tell(|net| net.fetcher()).await;
    for garbage in [&[0xff_u8; 64][..], &[5, 0, 0, 0, 9, 9, 9, 9, 9]] {
        let before = bed.refused().await;
        fetcher.garble(owner, garbage).await.unwrap();
        bed.refuses("garbage on a bulk stream", before).await;
    }
    bed.is_unmoved("garbage").await;
    bed.end().await;
}
