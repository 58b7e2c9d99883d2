//! What waits to be written on one link. Filled by whoever commits, emptied by the worker that drives
//! the link.
//!
//! A replica that does not take what it is sent never holds a commit up: its outbox fills, and the
//! link is given up. Frames of a link are written on that link or not at all (R6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::types::NodeId;

/// Bytes that wait for one peer at most, those that are being written included: seconds of commits
/// at full load. A replica that is further behind is better off with a copy.
pub(super) const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// Frames are put together up to about so many bytes, which are then written at once.
const PIECE_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The link's number.
    pub(super) link: u64,
    queue: Mutex<Queue>,
    ready: Notify,
    overflowed: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes in pieces, and in the one that is being written.
    bytes: usize,
    /// It was full once, or too much is owed on the link, which ends.
    overflowed: bool,
}

impl Outbox {
    pub(super) fn new(link: u64, bytes_max: usize) -> Self {
        Self {
            link,
            queue: Mutex::default(),
            ready: Notify::new(),
            overflowed: Notify::new(),
            bytes_max,
        }
    }

    /// Queues a frame; false, for ever, once there was no room for one.
    pub(super) fn push(&self, frame: Vec<u8>) -> bool {
        let taken = self.queue.lock().push(frame, self.bytes_max);
        self.ready.notify_one();
        if !taken {
            self.overflowed.notify_one();
        }
        taken
    }

    /// Drops what waits, and takes nothing more.
    fn give_up(&self) {
        self.queue.lock().overflow();
        self.ready.notify_one();
        self.overflowed.notify_one();
    }

    /// Resolves once there was no room, also while a write stands still. For one listener; cancel
    /// safe.
    pub(super) async fn overflowed(&self) {
        while !self.queue.lock().overflowed {
            self.overflowed.notified().await;
        }
    }

    /// The next bytes to write, after which [`Outbox::written`] is to be called; `None` once there
    /// was no room. For one writer; cancel safe.
    pub(super) async fn next(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if queue.overflowed {
                    return None;
                }
                if let Some(piece) = queue.pieces.pop_front() {
                    return Some(piece);
                }
            }
            self.ready.notified().await;
        }
    }

    /// So many bytes have been written.
    pub(super) fn written(&self, bytes: usize) {
        let mut queue = self.queue.lock();
        queue.bytes = queue.bytes.saturating_sub(bytes);
    }
}

impl Queue {
    fn push(&mut self, frame: Vec<u8>, bytes_max: usize) -> bool {
        let bytes = self.bytes.saturating_add(frame.len());
        if self.overflowed || bytes > bytes_max {
            self.overflow();
            return false;
        }
        self.bytes = bytes;
        match self.pieces.back_mut() {
            Some(last) if last.len().saturating_add(frame.len()) <= PIECE_BYTES => {
                last.extend_from_slice(&frame);
            }
            Some(_) | None => self.pieces.push_back(frame),
        }
        true
    }

    fn overflow(&mut self) {
        self.overflowed = true;
        self.pieces = VecDeque::new();
    }
}

/// The outboxes of all links that there are, by peer.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    open: RwLock<BTreeMap<NodeId, Arc<Outbox>>>,
}

impl Outboxes {
    /// A link begins; it takes the place of an earlier one.
    pub(super) fn open(&self, peer: NodeId, outbox: &Arc<Outbox>) {
        self.open.write().insert(peer, Arc::clone(outbox));
    }

    /// A link has ended.
    pub(super) fn close(&self, peer: NodeId, link: u64) {
        let mut open = self.open.write();
        if open.get(&peer).is_some_and(|it| it.link == link) {
            open.remove(&peer);
        }
    }

    /// The number of the link to a peer, if there is one.
    pub(super) fn link(&self, peer: NodeId) -> Option<u64> {
        self.open.read().get(&peer).map(|it| it.link)
    }

    /// Queues a frame for just this link; false if it is gone or full.
    pub(super) fn push(&self, peer: NodeId, link: u64, frame: Vec<u8>) -> bool {
        let open = self.open.read();
        let outbox = open.get(&peer).filter(|it| it.link == link);
        outbox.is_some_and(|it| it.push(frame))
    }

    /// Has just this link end.
    pub(super) fn give_up(&self, peer: NodeId, link: u64) {
        let open = self.open.read();
        if let Some(outbox) = open.get(&peer).filter(|it| it.link == link) {
            outbox.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_in_order_and_many_small_ones_at_once() {
        let outbox = Outbox::new(1, OUTBOX_BYTES_MAX);
        let (mut pushed, mut taken) = (Vec::new(), Vec::new());
        let mut pieces = 0;
        for n in 0..200u8 {
            let frame = vec![n; 1 + usize::from(n) * 20];
            pushed.extend_from_slice(&frame);
            assert!(outbox.push(frame));
        }
        while taken.len() < pushed.len() {
            let piece = outbox.next().await.unwrap();
            outbox.written(piece.len());
            taken.extend_from_slice(&piece);
            pieces += 1;
        }
        assert!(taken == pushed);
        assert!(pieces < 20, "{pieces}");
        assert_eq!(outbox.queue.lock().bytes, 0);
    }

    #[tokio::test]
    async fn a_full_outbox_takes_nothing_more_and_says_so_at_both_ends() {
        let outbox = Outbox::new(1, 100);
        assert!(outbox.push(vec![0; 60]));
        // What is being written counts too.
        assert_eq!(outbox.next().await.map(|it| it.len()), Some(60));
        assert!(!outbox.push(vec![0; 60]));
        outbox.written(60);
        assert!(!outbox.push(vec![0; 1]));
        assert_eq!(outbox.next().await, None);
    }

    #[test]
    fn a_frame_goes_to_the_link_that_it_is_for_or_nowhere() {
        let outboxes = Outboxes::default();
        let peer = NodeId(1);
        assert!(!outboxes.push(peer, 1, vec![1]));
        for link in [1, 2] {
            outboxes.open(peer, &Arc::new(Outbox::new(link, 100)));
        }
        assert!(!outboxes.push(peer, 1, vec![1]));
        assert!(outboxes.push(peer, 2, vec![1]));
        outboxes.close(peer, 1);
        assert_eq!(outboxes.link(peer), Some(2));
        outboxes.close(peer, 2);
        assert_eq!(outboxes.link(peer), None);
    }
}
