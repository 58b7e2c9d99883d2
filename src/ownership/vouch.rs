//! What the operator's word does: slots of a node that is gone for good start empty, in
//! quarantine, at the node that is told; from there they move to their targets like any others.
//!
//! One node is told, and takes them all, whatever its targets are. Were several told, each for the
//! slots that it thinks are its own, two whose targets differ would both take a slot, with no
//! majority to decide between them.
//!
//! The operator stands in for the majority that cannot answer any more, and nothing checks the
//! word. If the node is not gone but only out of sight, it goes on granting what it owns until it
//! hears of the new configuration, and both together may grant more than a limit. So: only a node
//! that is not connected, only slots whose replicas are all gone (of several each must have been
//! vouched for in this life, but this node itself, which alone is no majority), and a version and a ballot far above all
//! that the node may reach by restarting alone, so that it yields as soon as it hears of them. Grants
//! that it knew of are forgotten; the quarantine of one window makes up for them.

use super::event::{Origin, TaskId};
use super::outbox::ToInstall;
use super::ownership::Ownership;
use super::refusal::Refusal;
use crate::types::{Configuration, Epoch, NodeId, Replicas, Slot, SlotSet, SlotTime};

/// How far above the last known the version and the ballot are: far more than a lone node uses up
/// by restarting.
pub(super) const VOUCHED_JUMP: u64 = 1 << 20;

/// Most nodes that are remembered as gone.
const GONE_MAX: usize = 1024;

/// Slots that are being installed on the operator's word.
#[derive(Debug)]
pub(super) struct Vouched {
    pub(super) ballot: Epoch,
    pub(super) slots: SlotSet,
    chosen: Vec<(Slot, Configuration)>,
}

impl Ownership {
    /// The operator vouches that `gone` is gone.
    pub(super) fn vouch(&mut self, gone: NodeId) {
        if gone == self.ledger.me || self.ledger.peers.contains(&gone) {
            self.ledger.refusals.add(Refusal::Alive);
            return;
        }
        if self.gone.len() < GONE_MAX {
            self.gone.insert(gone);
        }
        let orphaned = |slot: &Slot| {
            let chosen = self.ledger.chosen(*slot);
            chosen.is_some_and(|it| it.replicas.contains(gone) && self.is_orphaned(&it.replicas))
        };
        let orphaned: Vec<Slot> = Slot::all().filter(orphaned).collect();
        if orphaned.is_empty() {
            return;
        }
        self.ledger.skip_ballots(VOUCHED_JUMP);
        let ballot = self.ledger.next_ballot();
        let mut vouched: Option<(TaskId, Vouched)> = None;
        for slot in orphaned {
            self.coordinator.abandon(slot);
            if let Some((task, configuration)) = self.install_vouched(slot, ballot) {
                let (_, vouched) = vouched.get_or_insert_with(|| (task, Vouched::new(ballot)));
                vouched.slots.insert(slot);
                vouched.chosen.push((slot, configuration));
            }
        }
        self.vouched.extend(vouched);
    }

    /// Whether nobody is left of a slot's replicas but perhaps this node, which is no majority: as long
    /// as another is left, that one may know more.
    fn is_orphaned(&self, replicas: &Replicas) -> bool {
        let nodes = replicas.as_slice();
        let gone = nodes.iter().filter(|it| self.gone.contains(it)).count();
        let left = nodes.iter().filter(|it| !self.gone.contains(it));
        gone >= replicas.majority() && left.into_iter().all(|it| *it == self.ledger.me)
    }

    fn install_vouched(&mut self, slot: Slot, ballot: Epoch) -> Option<(TaskId, Configuration)> {
        let ledger = &mut self.ledger;
        let base = *ledger.chosen(slot)?;
        let configuration = Configuration {
            version: base.version.checked_add(VOUCHED_JUMP)?,
            epoch: ballot,
            owner: ledger.me,
            replicas: Replicas::one(ledger.me),
        };
        ledger.promise(slot, ballot)?;
        let task = ledger.out.install(
            ballot,
            ToInstall {
                slot,
                origin: Origin::Lost,
                n: 0,
                clock: SlotTime::ZERO,
                vouched: Some(configuration),
            },
        );
        Some((task, configuration))
    }

    /// What was vouched for is installed: only now it is known as chosen, told, and served.
    pub(super) fn on_vouched_installed(&mut self, task: TaskId) {
        let Some(vouched) = self.vouched.remove(&task) else {
            return;
        };
        for (slot, chosen) in vouched.chosen {
            let ledger = &mut self.ledger;
            ledger.changed.insert(slot);
            // T8 holds here too.
            let register = ledger.register(slot);
            if register.promised != vouched.ballot
                || !register.agrees_with(&chosen)
                || !ledger.learn(slot, chosen)
            {
                continue;
            }
            ledger.set_complete(slot, true);
            ledger.out.tell(slot);
            ledger.out.serve(slot, chosen.epoch);
            self.owner.serve(slot, chosen.epoch);
        }
    }
}

impl Vouched {
    const fn new(ballot: Epoch) -> Self {
        Self {
            ballot,
            slots: SlotSet::EMPTY,
            chosen: Vec::new(),
        }
    }
}
