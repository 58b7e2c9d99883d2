//! A commit as frames: to each link the groups of the slots that its peer gets, as they stand in the
//! record. Never waits: a link that takes no more is given up, and its peer catches up.

use crate::limiter::codec::CodecError;
use crate::limiter::commit_record::{Group, all, groups_of_packed};
use crate::protocol::frame::encode_within;
use crate::protocol::replicate::{GROUPS_BYTES_MAX, LINK_FRAME_BYTES_MAX, OwnerFrame};
use crate::replication::{Parts, Tracker};
use crate::types::{NodeId, Position, Slot};

/// The links, as the commits see them. Called under a lock: it only puts frames into queues.
pub(crate) trait Outgoing: Send + Sync {
    /// Queues a whole frame, its length included, behind those before it. False if the link is not
    /// `peer`'s current one or has no room; then nothing more of it may reach the peer.
    fn send(&self, peer: NodeId, link: u64, frame: Vec<u8>) -> bool;

    /// The link is to be closed and made anew: its peer has to catch up.
    fn close(&self, peer: NodeId, link: u64);
}

/// What is kept from commit to commit for its memory.
#[derive(Debug, Default)]
pub(super) struct Sender {
    positions: Vec<(Slot, Position)>,
    parts: Parts,
    bytes: Vec<u8>,
    ask: Vec<(NodeId, u64, u64)>,
    failed: Vec<(NodeId, u64)>,
    oversized: Vec<(NodeId, u64, Slot)>,
}

/// Bytes above which the buffer of groups is given back after use.
const BYTES_KEPT: usize = 1 << 16;

impl Sender {
    /// Tells the tracker of a commit and puts its frames on their way.
    pub(super) fn commit(
        &mut self,
        (number, record): (u64, &[u8]),
        tracker: &mut Tracker,
        outgoing: Option<&dyn Outgoing>,
    ) {
        let (stamp_ms, groups) = cut(record).unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::error!(
                number,
                error,
                "a commit record cannot be cut; this is a bug"
            );
            (0, Vec::new())
        });
        self.positions.clear();
        let each = groups.iter().map(|group| (group.slot, group.at));
        self.positions.extend(each);
        tracker.committed(number, &self.positions, &mut self.parts);
        self.send_parts((number, stamp_ms), &groups, outgoing);
        self.give_up_failed(tracker, outgoing);
    }

    /// Asks peers to sync what was sent to them.
    pub(super) fn ask_sync(
        &mut self,
        somebody_waits: bool,
        tracker: &mut Tracker,
        outgoing: Option<&dyn Outgoing>,
    ) {
        tracker.ask_sync(somebody_waits, &mut self.ask);
        for (peer, link, through) in self.ask.drain(..) {
            let mut frame = Vec::new();
            let message = OwnerFrame::Sync { through };
            if !(encode(&message, &mut frame) && send(outgoing, peer, link, frame)) {
                self.failed.push((peer, link));
            }
        }
        self.give_up_failed(tracker, outgoing);
    }

    fn send_parts(
        &mut self,
        (number, stamp_ms): (u64, u64),
        groups: &[Group<'_>],
        outgoing: Option<&dyn Outgoing>,
    ) {
        for part in self.parts.iter() {
            let (peer, link) = (part.peer, part.link);
            if self.parts.full().contains(&(peer, link)) {
                self.failed.push((peer, link));
                continue;
            }
            self.bytes.clear();
            let flush = |bytes: &mut Vec<u8>, last| {
                let mut frame = Vec::with_capacity(bytes.len().saturating_add(32));
                let message = OwnerFrame::Commit {
                    number,
                    stamp_ms,
                    last,
                    groups: bytes,
                };
                let is_sent = encode(&message, &mut frame) && send(outgoing, peer, link, frame);
                bytes.clear();
                is_sent
            };
            let mut is_sent = true;
            for it in part.groups.iter().filter_map(|&place| groups.get(place)) {
                let group = it.raw();
                if group.len() > GROUPS_BYTES_MAX {
                    self.oversized.push((peer, link, it.slot));
                    continue;
                }
                if self.bytes.len().saturating_add(group.len()) > GROUPS_BYTES_MAX {
                    is_sent = is_sent && flush(&mut self.bytes, false);
                }
                self.bytes.extend_from_slice(group);
            }
            if !(is_sent && flush(&mut self.bytes, true)) {
                self.failed.push((peer, link));
            }
        }
        self.bytes.shrink_to(BYTES_KEPT);
    }

    fn give_up_failed(&mut self, tracker: &mut Tracker, outgoing: Option<&dyn Outgoing>) {
        for (peer, link, slot) in self.oversized.drain(..) {
            tracing::warn!(%peer, %slot, "a commit of a slot is too large to send; its replica catches up");
            tracker.skipped(peer, link, slot);
        }
        for (peer, link) in self.failed.drain(..) {
            tracing::warn!(%peer, link, "a replica is too slow; its link is made anew");
            tracker.lost(peer, link);
            if let Some(outgoing) = outgoing {
                outgoing.close(peer, link);
            }
        }
    }
}

/// A record's stamp and its groups.
fn cut(record: &[u8]) -> Result<(u64, Vec<Group<'_>>), CodecError> {
    let (head, groups) = groups_of_packed(record)?;
    Ok((head.stamp.as_ms(), all(groups)?))
}

fn encode(message: &OwnerFrame<'_>, frame: &mut Vec<u8>) -> bool {
    encode_within(LINK_FRAME_BYTES_MAX, message, frame).is_ok()
}

fn send(outgoing: Option<&dyn Outgoing>, peer: NodeId, link: u64, frame: Vec<u8>) -> bool {
    outgoing.is_some_and(|outgoing| outgoing.send(peer, link, frame))
}
