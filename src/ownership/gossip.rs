//! How records spread: who has been told nothing for a while is told hashes of all records, and
//! answers with the records where its own differ. Newer ones are learned, older ones ignored, so
//! that all nodes end with the newest whoever speaks first.

use xxhash_rust::xxh3::xxh3_64;

use super::ledger::Ledger;
use super::message::Message;
use super::record::Register;
use super::refusal::Refusal;
use crate::types::{MonoTime, NodeId, SLOT_COUNT, Slot, SlotRecord};

/// Slots under one hash.
const GROUP_SLOTS: usize = 64;
const GROUPS: usize = SLOT_COUNT as usize / GROUP_SLOTS;

/// Whose turn it is, and when.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    next_at: MonoTime,
    last: Option<NodeId>,
}

impl Gossip {
    /// Tells the next peer in turn, if it is time.
    pub(super) fn on_tick(&mut self, ledger: &mut Ledger) {
        if ledger.now < self.next_at {
            return;
        }
        self.next_at = ledger.now.plus(ledger.settings.digest);
        let after = |it: &&NodeId| self.last.is_none_or(|last| **it > last);
        let next = ledger.peers.iter().find(after);
        let Some(&peer) = next.or_else(|| ledger.peers.first()) else {
            return;
        };
        self.last = Some(peer);
        tell_digest(ledger, peer);
    }
}

/// Tells a peer the hashes of all records.
pub(super) fn tell_digest(ledger: &mut Ledger, peer: NodeId) {
    let groups = hashes(ledger.registers());
    ledger.out.answer(peer, Message::Digest { groups });
}

/// Answers a digest with the records of all groups that differ.
pub(super) fn on_digest(ledger: &mut Ledger, from: NodeId, groups: &[u64]) {
    if groups.len() != GROUPS {
        ledger.refusals.add(Refusal::Size);
        return;
    }
    let own = hashes(ledger.registers());
    for slot in Slot::all() {
        let group = slot.index() / GROUP_SLOTS;
        let known = ledger.chosen(slot).is_some();
        if known && own.get(group) != groups.get(group) {
            ledger.out.tell_one(from, slot);
        }
    }
}

/// Learns what is newer.
pub(super) fn on_chosen(ledger: &mut Ledger, records: &[SlotRecord]) {
    if records.len() > usize::from(SLOT_COUNT) {
        ledger.refusals.add(Refusal::Size);
        return;
    }
    for it in records {
        ledger.hear(it.slot, it.chosen);
    }
}

/// Of each group of slots one hash: xxh3 over slot (u16), version (u64), counter (u64) and node
/// (u128) of the epoch, little-endian, of each slot of which something is known.
fn hashes(registers: &[Register]) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(GROUPS);
    let mut bytes = Vec::with_capacity(GROUP_SLOTS * 34);
    let slots: Vec<Slot> = Slot::all().collect();
    for (registers, slots) in registers.chunks(GROUP_SLOTS).zip(slots.chunks(GROUP_SLOTS)) {
        bytes.clear();
        for (register, slot) in registers.iter().zip(slots) {
            let Some(chosen) = &register.chosen else {
                continue;
            };
            bytes.extend(slot.number().to_le_bytes());
            bytes.extend(chosen.version.to_le_bytes());
            bytes.extend(chosen.epoch.counter.to_le_bytes());
            bytes.extend(chosen.epoch.node.0.to_le_bytes());
        }
        hashes.push(xxh3_64(&bytes));
    }
    hashes
}
