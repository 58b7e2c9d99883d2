//! What holds in the tests' world after each step, and once it has come to rest.

use super::super::Standing;
use super::world::{SLOTS, World, slot};
use crate::types::NodeId;

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
            let granted = self.granted.get(&slot).copied().unwrap_or(0);
            assert_eq!(
                self.nodes[&target].states[&slot].grants, granted,
                "slot {n}"
            );
            for it in self.nodes.values().filter(|it| it.up) {
                assert_eq!(it.life.record(slot).unwrap().owner, target);
            }
        }
        for it in self.nodes.values().filter(|it| it.up) {
            assert!(it.life.is_settled());
        }
    }
}
