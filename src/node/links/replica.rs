//! The replica's side of all links: takes in what owners commit, on the worker that has accepted the
//! connection, and says what is here.
//!
//! All frames that are there are taken in at once, appended as one record, and acknowledged in one
//! write. A turn is bounded, so that the worker's other streams wait no longer than for a large batch
//! of checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::event::Events;
use super::heard::Heard;
use super::visit::Visit;
use super::visitor::Visitor;
use crate::node::engine::Engine;
use crate::node::peers::{LinkDoor, Misconduct, Passage, VisitingLink};
use crate::transport::CloseCode;
use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// See the module.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) engine: Arc<Engine>,
    pub(super) misconduct: Misconduct,
    pub(super) events: Arc<Events>,
    pub(super) heard: Arc<Heard>,
    /// The newest link from each owner.
    visits: Mutex<BTreeMap<NodeId, Arc<Visit>>>,
}

/// A link that is here, until dropped.
#[derive(Debug)]
pub(super) struct Present<'a> {
    replica: &'a Replica,
    pub(super) visit: Arc<Visit>,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.visit.end();
        let mut visits = self.replica.visits.lock();
        let owner = self.visit.owner;
        if visits
            .get(&owner)
            .is_some_and(|it| it.link == self.visit.link)
        {
            visits.remove(&owner);
        }
    }
}

impl Replica {
    pub(super) fn new(
        engine: Arc<Engine>,
        misconduct: Misconduct,
        events: Arc<Events>,
        heard: Arc<Heard>,
    ) -> Self {
        Self {
            engine,
            misconduct,
            events,
            heard,
            visits: Mutex::default(),
        }
    }

    /// A link begins, in the place of an earlier one of the same owner.
    fn begin(&self, link: &VisitingLink) -> Present<'_> {
        let owner = link.peer.node;
        let here = self.held_of(owner);
        let connection = link.connection.clone();
        let visit = Arc::new(Visit::new(link.number, owner, connection, here));
        let mut visits = self.visits.lock();
        if let Some(old) = visits.insert(owner, Arc::clone(&visit)) {
            old.end();
            let code = CloseCode::Renewed;
            old.connection
                .close(code.number(), code.as_str().as_bytes());
        }
        drop(visits);
        Present {
            replica: self,
            visit,
        }
    }

    /// The slots that are here in a reign of this owner.
    fn held_of(&self, owner: NodeId) -> SlotSet {
        let table = &self.engine.table;
        let held = table.held();
        let of_owner = held
            .iter()
            .filter(|slot| table.position(*slot).epoch.node == owner);
        of_owner.collect()
    }

    /// The newest link from an owner.
    pub(super) fn visit(&self, owner: NodeId) -> Option<Arc<Visit>> {
        self.visits.lock().get(&owner).cloned()
    }

    /// R1: from here on takes in what the owners of these slots commit in these reigns.
    pub(super) fn follow(&self, slots: &[(Slot, Epoch)]) {
        let mut of_owners: BTreeMap<NodeId, Vec<Slot>> = BTreeMap::new();
        for &(slot, epoch) in slots {
            match self.engine.follow(&[(slot, epoch)]) {
                Ok(()) => of_owners.entry(epoch.node).or_default().push(slot),
                Err(error) => {
                    tracing::warn!(%slot, %error, "a slot does not follow; it catches up anew");
                    self.events.behind(&std::iter::once(slot).collect());
                }
            }
        }
        for (owner, slots) in of_owners {
            // Without a link there is nothing to take in; a new one begins with all slots behind.
            if let Some(visit) = self.visit(owner) {
                visit.follow(&self.engine, &slots);
            }
        }
    }

    /// Slots of this owner are about to be copied.
    pub(super) fn restart(&self, owner: NodeId, slots: &SlotSet) {
        if let Some(visit) = self.visit(owner) {
            visit.restart(slots);
        }
    }

    /// Slots were sealed or dropped here.
    pub(super) fn close(&self, slots: &SlotSet) {
        let visits: Vec<_> = self.visits.lock().values().cloned().collect();
        for visit in visits {
            visit.close(slots);
        }
    }

    /// Has an owner told what was promised here above its reigns.
    pub(super) fn deaf(&self, owner: NodeId, slots: &[(Slot, Epoch)]) {
        if let Some(visit) = self.visit(owner) {
            visit.deaf(slots);
        }
    }
}

impl LinkDoor for Replica {
    fn carry(&self, link: VisitingLink) -> Passage<'_> {
        Box::pin(async move {
            let present = self.begin(&link);
            Visitor::new(self, &present.visit, link).serve().await
        })
    }
}
