//! Who owns which slot and who would take it over, as far as the client was told.
//!
//! Pure. Two sources: whole routes, which a node pushes, and single answers that a node is not the
//! owner. Routes carry no epochs, so they replace everything; of single answers since then, the one
//! of the highest epoch counts. Being wrong costs a round trip and never a permit: the node that is
//! asked decides by its own record.

use std::collections::BTreeMap;

use super::seed::Seed;
use crate::protocol::routes::{NOBODY, ReplicaRoutes};
use crate::types::{HOLDERS_TOLD, NodeId, SLOT_COUNT, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct RouteCache {
    tag: u64,
    nodes: Vec<KnownNode>,
    holders: Vec<Holding>,
    /// Epochs of the single answers since the last routes.
    told: BTreeMap<u16, u64>,
}

/// Who holds a slot, by their places in [`RouteCache::nodes`]: its owner, then those who would take it
/// over, the next one first.
pub(super) type Holding = [Option<u16>; HOLDERS_TOLD];

/// A node, and where it says that it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownNode {
    pub(super) node: NodeId,
    /// `None` if it is not of the form `host:port`.
    pub(super) address: Option<Seed>,
}

/// Routes that cannot be ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRoutes {
    /// Not as many slots as there are.
    #[error("the routes are of {slots} slots, not of {SLOT_COUNT}")]
    Slots {
        /// How many they are of.
        slots: u32,
    },
    /// A node that is not among the nodes, or a set of them that is not among the sets.
    #[error("the routes name a node that they do not list")]
    Missing,
}

impl Default for RouteCache {
    fn default() -> Self {
        Self {
            tag: 0,
            nodes: Vec::new(),
            holders: vec![Holding::default(); usize::from(SLOT_COUNT)],
            told: BTreeMap::new(),
        }
    }
}

impl RouteCache {
    /// Takes these routes for all slots. Whether anything is different now.
    ///
    /// # Errors
    /// [`BadRoutes`]; everything is then as it was.
    pub(super) fn accept(&mut self, routes: &ReplicaRoutes) -> Result<bool, BadRoutes> {
        if self.tag == routes.tag && self.told.is_empty() {
            return Ok(false);
        }
        self.holders = holders(routes)?;
        self.tag = routes.tag;
        self.told.clear();
        self.nodes = routes
            .nodes
            .iter()
            .map(|node| KnownNode {
                node: NodeId(node.node),
                address: Seed::from(node.address.as_str()).checked().ok(),
            })
            .collect();
        Ok(true)
    }

    /// A node said that at `epoch` the slot's owner is `owner`; who owned it before is asked last from
    /// now on. Whether that is news.
    pub(super) fn redirect(&mut self, slot: Slot, epoch: u64, owner: NodeId) -> bool {
        if self.told.get(&slot.number()).is_some_and(|&at| at > epoch) {
            return false;
        }
        self.told.insert(slot.number(), epoch);
        let place = self.nodes.iter().position(|known| known.node == owner);
        let place = place.and_then(|place| u16::try_from(place).ok());
        match self.holders.get_mut(slot.index()) {
            Some(known) if known[0] != place => {
                *known = promoted(place, *known);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets everything: it was of another cluster.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The slot's owner, if one is known.
    #[cfg(test)]
    pub(super) fn owner(&self, slot: Slot) -> Option<&KnownNode> {
        let [owner, ..] = self.holding(slot);
        self.nodes.get(usize::from(owner?))
    }

    /// Who holds the slot.
    pub(super) fn holding(&self, slot: Slot) -> Holding {
        let holding = self.holders.get(slot.index());
        holding.copied().unwrap_or_default()
    }

    /// For each slot who holds it.
    pub(super) fn all_holding(&self) -> &[Holding] {
        &self.holders
    }

    /// All nodes that are known.
    pub(super) fn nodes(&self) -> &[KnownNode] {
        &self.nodes
    }

    /// Whether any owner is known.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes that own slots, each once. One that only holds some is not asked: it has just come, or
    /// is about to stop.
    pub(super) fn owning(&self) -> impl Iterator<Item = &KnownNode> {
        let mut owns = vec![false; self.nodes.len()];
        for place in self.holders.iter().filter_map(|[owner, ..]| *owner) {
            if let Some(owns) = owns.get_mut(usize::from(place)) {
                *owns = true;
            }
        }
        self.nodes
            .iter()
            .zip(owns)
            .filter_map(|(node, owns)| owns.then_some(node))
    }
}

/// The same holders under another owner: the old one is the last of them.
fn promoted(owner: Option<u16>, before: Holding) -> Holding {
    let [old, next, last] = before;
    let mut others = [next, last, old].into_iter();
    let mut others = others.by_ref().filter(|it| it.is_some() && *it != owner);
    [owner, others.next().flatten(), others.next().flatten()]
}

fn holders(routes: &ReplicaRoutes) -> Result<Vec<Holding>, BadRoutes> {
    let slots = routes
        .runs
        .iter()
        .fold(0_u32, |sum, run| sum.saturating_add(u32::from(run.0)));
    if slots != u32::from(SLOT_COUNT) {
        return Err(BadRoutes::Slots { slots });
    }
    let mut holders = Vec::with_capacity(usize::from(SLOT_COUNT));
    for &(slots, set) in &routes.runs {
        let set = routes.sets.get(usize::from(set));
        let mut holding = Holding::default();
        for (place, told) in holding.iter_mut().zip(set.ok_or(BadRoutes::Missing)?) {
            *place = match *told {
                NOBODY => None,
                told if usize::from(told) < routes.nodes.len() => Some(told),
                _missing => return Err(BadRoutes::Missing),
            };
        }
        holders.extend(std::iter::repeat_n(holding, usize::from(slots)));
    }
    Ok(holders)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::routes::{RouteNode, Routes};

    fn routes(tag: u64, nodes: &[u128], runs: &[(u16, u16)]) -> ReplicaRoutes {
        let routes = Routes {
            tag,
            policies: 1,
            nodes: nodes
                .iter()
                .map(|&node| RouteNode {
                    node,
                    address: format!("node-{node}.example:7400"),
                })
                .collect(),
            runs: runs.to_vec(),
        };
        routes.into()
    }

    fn owner(cache: &RouteCache, slot: u16) -> Option<u128> {
        let known = cache.owner(Slot::new(slot).unwrap());
        known.map(|known| known.node.0)
    }

    #[test]
    fn runs_name_the_owner_of_every_slot() {
        let mut cache = RouteCache::default();
        assert_eq!(owner(&cache, 0), None);
        let runs = [(1, 1), (4000, 0), (90, NOBODY), (5, 1)];
        assert_eq!(cache.accept(&routes(5, &[7, 8, 9], &runs)), Ok(true));
        for (slot, node) in [
            (0, Some(8)),
            (1, Some(7)),
            (4000, Some(7)),
            (4001, None),
            (4091, Some(8)),
            (4095, Some(8)),
        ] {
            assert_eq!(owner(&cache, slot), node, "slot {slot}");
        }
        let owning: Vec<u128> = cache.owning().map(|known| known.node.0).collect();
        assert_eq!(owning, [7, 8], "who owns nothing is not among them");
    }

    #[test]
    fn bad_routes_change_nothing() {
        let mut cache = RouteCache::default();
        cache.accept(&routes(5, &[7], &[(4096, 0)])).unwrap();
        for (runs, error) in [
            (vec![(4095, 0)], BadRoutes::Slots { slots: 4095 }),
            (vec![(4096, 0), (1, 0)], BadRoutes::Slots { slots: 4097 }),
            (vec![], BadRoutes::Slots { slots: 0 }),
            (vec![(4096, 1)], BadRoutes::Missing),
        ] {
            assert_eq!(cache.accept(&routes(6, &[8], &runs)), Err(error));
            assert_eq!(owner(&cache, 9), Some(7));
        }
        let mut missing = routes(6, &[8], &[(4096, 0)]);
        missing.sets[0] = [0, NOBODY, 1];
        assert_eq!(cache.accept(&missing), Err(BadRoutes::Missing));
    }

    #[test]
    fn the_next_replica_takes_over_and_who_owned_the_slot_before_is_asked_last() {
        let mut cache = RouteCache::default();
        let mut held = routes(5, &[7, 8, 9, 10], &[(4096, 0)]);
        held.sets[0] = [0, 1, 2];
        cache.accept(&held).unwrap();
        let owning: Vec<u128> = cache.owning().map(|known| known.node.0).collect();
        assert_eq!(owning, [7], "and not who only holds slots");
        let slot = Slot::new(3).unwrap();
        for (epoch, owner, expected) in [
            (2, 8, [Some(1), Some(2), Some(0)]),
            (3, 7, [Some(0), Some(2), Some(1)]),
            (4, 10, [Some(3), Some(2), Some(1)]),
            (5, 99, [None, Some(2), Some(1)]),
            (6, 9, [Some(2), Some(1), None]),
        ] {
            assert!(cache.redirect(slot, epoch, NodeId(owner)));
            assert_eq!(cache.holding(slot), expected);
        }
        assert_eq!(
            cache.holding(Slot::new(4).unwrap()),
            [Some(0), Some(1), Some(2)]
        );
    }

    #[test]
    fn an_address_that_is_none_leaves_its_node_without_one() {
        let mut bad = routes(5, &[7], &[(4096, 0)]);
        bad.nodes[0].address = "nowhere".to_owned();
        let mut cache = RouteCache::default();
        cache.accept(&bad).unwrap();
        assert_eq!(cache.owner(Slot::new(0).unwrap()).unwrap().address, None);
    }

    proptest! {
        /// The model: of the answers since the last routes the last one of the highest epoch, else
        /// what the routes say.
        #[test]
        fn the_newest_answer_since_the_last_routes_counts(
            steps in prop::collection::vec((0..8_u8, 0..3_u16, 0..5_u64, 0..4_u128), 0..60)
        ) {
            let mut cache = RouteCache::default();
            let mut model: [(Option<u128>, u64); 3] = [(None, 0); 3];
            let mut known: Vec<u128> = Vec::new();
            for (n, (kind, slot, epoch, node)) in steps.into_iter().enumerate() {
                if kind == 0 {
                    known = vec![node, 9];
                    let tag = u64::try_from(n).unwrap() + 1;
                    let runs = [(1, 0), (1, 1), (1, NOBODY), (4093, 0)];
                    cache.accept(&routes(tag, &known, &runs)).unwrap();
                    model = [(Some(node), 0), (Some(9), 0), (None, 0)];
                } else {
                    let entry = &mut model[usize::from(slot)];
                    let before = entry.0;
                    if epoch >= entry.1 {
                        *entry = (known.contains(&node).then_some(node), epoch);
                    }
                    let news = cache.redirect(Slot::new(slot).unwrap(), epoch, NodeId(node));
                    prop_assert_eq!(news, before != model[usize::from(slot)].0);
                }
                for slot in 0..3 {
                    prop_assert_eq!(owner(&cache, slot), model[usize::from(slot)].0);
                }
            }
        }
    }
}
