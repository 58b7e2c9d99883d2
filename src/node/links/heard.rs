//! Who was heard of directly, in whatever they sent: the sign of life by which a takeover is judged.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::types::NodeId;

/// Peers that were heard of since they were taken last. Never more than there are peers.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    peers: Mutex<BTreeSet<NodeId>>,
}

impl Heard {
    /// Something came from `peer`, over a connection that is its own.
    pub(crate) fn note(&self, peer: NodeId) {
        self.peers.lock().insert(peer);
    }

    /// Who was heard of since this was asked last.
    pub(crate) fn take(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.peers.lock())
            .into_iter()
            .collect()
    }
}
