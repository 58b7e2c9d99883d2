//! What holds in the tests' world after each step, and once it has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Standing;
use super::super::record::same_nodes;
use super::disk::State;
use super::world::{SLOTS, World, slot};
use crate::types::{Configuration, Epoch, NodeId, Slot, SlotRecord};

/// What was seen of each slot.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The reigns that were served, and the grants that were known at their beginning; none where
    /// they began empty, in quarantine.
    reigns: BTreeMap<Slot, BTreeMap<Epoch, Option<BTreeSet<u64>>>>,
    chosen: BTreeMap<(Slot, u64), Configuration>,
    lost: BTreeSet<(Slot, Epoch)>,
}

impl World {
    /// Safety, after each event: what a node serves it may, and no other serves it with right.
    pub(super) fn check(&self, id: NodeId) {
        let it = &self.nodes[&id];
        for (slot, epoch) in &it.serving {
            assert_eq!(it.life.standing(*slot), Standing::Serving { epoch: *epoch });
            let register = it.life.register(*slot);
            assert!(register.promised <= *epoch, "O4: it promised more");
            assert_eq!(register.chosen.unwrap().epoch, *epoch, "T8: chosen");
            let others = self.nodes.iter().filter(|other| *other.0 != id);
            for (other, that) in others {
                assert!(
                    self.lenient
                        || !that.serving.contains_key(slot)
                        || register.chosen.unwrap().replicas.majority() > 1,
                    "slot {slot} is served by {id} and {other}"
                );
            }
        }
    }

    /// I2, O5: a reign begins once, with all that was given before.
    pub(super) fn judge_reign(&mut self, slot: Slot, epoch: Epoch, state: &State) {
        let lost = self.judged.lost.contains(&(slot, epoch));
        let reigns = self.judged.reigns.entry(slot).or_default();
        let newest = reigns.keys().next_back().is_none_or(|it| *it < epoch);
        let again = reigns.insert(epoch, (!lost).then(|| state.grants.clone()));
        assert!(
            again.is_none(),
            "O5: slot {slot} is served again at {epoch}"
        );
        if lost {
            self.granted.remove(&slot);
        }
        let granted = self.granted.entry(slot).or_default();
        assert!(
            !newest || lost || granted.is_subset(&state.grants),
            "I2: slot {slot} at {epoch} does not know {granted:?}"
        );
    }

    /// I3: a grant of an old reign that is given late is known to all that came after.
    pub(super) fn judge_grant(&mut self, slot: Slot, epoch: Epoch, grant: u64) {
        let after = (std::ops::Bound::Excluded(epoch), std::ops::Bound::Unbounded);
        let mut forgotten = false;
        for (later, known) in self.judged.reigns.entry(slot).or_default().range(after) {
            let Some(known) = known else {
                forgotten = true;
                continue;
            };
            assert!(
                known.contains(&grant),
                "I3: slot {slot}: {grant}, given at {epoch}, is not known at {later}"
            );
        }
        if !forgotten {
            self.granted.entry(slot).or_default().insert(grant);
        }
    }

    /// T5: a state is given up only where too few are left that have it.
    pub(super) fn judge_loss(&mut self, id: NodeId, slot: Slot, epoch: Epoch) {
        self.judged.lost.insert((slot, epoch));
        let base = self.nodes[&id].life.record(slot).unwrap();
        let nodes = base.replicas.as_slice();
        let whole = nodes.iter().filter(|it| {
            let node = &self.nodes[it];
            node.up && node.registers[slot.index()].is_some_and(|it| it.complete)
        });
        let alone = base.replicas.majority() == 1;
        assert!(
            alone || whole.count() < base.replicas.majority(),
            "T5: slot {slot} is given up"
        );
    }

    /// I4: one configuration is chosen for each version.
    pub(super) fn judge_records(&mut self, records: &[SlotRecord]) {
        for it in records {
            let key = (it.slot, it.chosen.version);
            let chosen = self.judged.chosen.entry(key).or_insert(it.chosen);
            assert_eq!(*chosen, it.chosen, "I4: slot {}", it.slot);
        }
    }

    /// Liveness, and nothing forgotten: each slot is served once, by whom the targets name.
    pub(super) fn check_settled(&self) {
        for n in 0..SLOTS {
            let slot = slot(n);
            let serving = self
                .nodes
                .iter()
                .filter(|it| it.1.serving.contains_key(&slot));
            let serving: Vec<NodeId> = serving.map(|it| *it.0).collect();
            let target = self.targets[usize::from(n)].as_slice()[0];
            assert_eq!(serving, [target], "slot {n}");
            let granted = self.granted.get(&slot).cloned().unwrap_or_default();
            let known = &self.nodes[&target].states[&slot].grants;
            assert!(granted.is_subset(known), "slot {n}");
            self.check_replicas(slot, target);
            for it in self.nodes.values().filter(|it| it.up) {
                assert_eq!(it.life.record(slot).unwrap().owner, target);
            }
        }
        for it in self.nodes.values().filter(|it| it.up) {
            assert!(it.life.is_settled());
        }
    }

    /// Who should hold a slot does, and has all of it.
    fn check_replicas(&self, slot: Slot, target: NodeId) {
        let targets = &self.targets[slot.index()];
        let chosen = self.nodes[&target].life.record(slot).unwrap();
        assert!(
            same_nodes(&chosen.replicas, targets),
            "slot {slot}: {:?} instead of {targets:?}",
            chosen.replicas
        );
        let state = &self.nodes[&target].states[&slot];
        for (id, it) in self.nodes.iter().filter(|it| it.1.up) {
            if targets.contains(*id) {
                assert_eq!(it.states.get(&slot), Some(state), "slot {slot} at {id}");
            } else {
                // What is not whole counts for nothing, and may lie there after a restart.
                let whole = it.life.register(slot).complete;
                let left = it.states.get(&slot).filter(|_| whole);
                assert_eq!(left, None, "R8: slot {slot} at {id}");
            }
        }
    }
}
