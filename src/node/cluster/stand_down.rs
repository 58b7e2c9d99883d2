//! What a node does whose storage has failed while other nodes hold its slots too: it goes, as if it had
//! died, so that they take the slots over.
//!
//! It grants nothing any more, but it would still be heard, and so keep the others from replacing it.
//! A node that holds slots alone stays: nobody could take them, and it says to whoever asks what is
//! wrong, and answers as `on_failure` says.

use super::control::Control;
use crate::membership::swim::SwimEvent;
use crate::types::{Configuration, Slot};

impl Control {
    /// Goes if the storage has failed and others hold slots of this node; whether it did, and the loop
    /// is to end.
    pub(super) fn stands_down(&mut self) -> bool {
        if !self.engine.fence.is_closed() || !self.is_replica() {
            return false;
        }
        tracing::error!(
            "the storage failed, and other nodes hold the slots of this one: it stops, so that they \
             take its slots over; correct the storage and start it again"
        );
        self.swim(SwimEvent::Leave);
        self.net.shut_down();
        self.cluster.note_stood_down();
        true
    }

    /// Whether any slot is on this node and on others.
    fn is_replica(&self) -> bool {
        let me = self.engine.about.node;
        let shared = |it: &Configuration| it.replicas.majority() > 1 && it.replicas.contains(me);
        Slot::all().any(|slot| self.ownership.record(slot).as_ref().is_some_and(shared))
    }
}
