//! Who owns which slot, as far as the client was told.
//!
//! Pure. Two sources: whole routes, which a node pushes, and single answers that a node is not the
//! owner. Routes carry no epochs, so they replace everything; of single answers since then, the one
//! of the highest epoch counts. Being wrong costs a round trip and never a permit: the node that is
//! asked decides by its own record.

use std::collections::BTreeMap;

use super::seed::Seed;
use crate::protocol::routes::{Routes, UNOWNED};
use crate::types::{NodeId, SLOT_COUNT, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct RouteCache {
    tag: u64,
    nodes: Vec<KnownNode>,
    /// For each slot the owner's place in `nodes`.
    owners: Vec<Option<u16>>,
    /// Epochs of the single answers since the last routes.
    told: BTreeMap<u16, u64>,
}

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
    /// An owner that is not among the nodes.
    #[error("the routes name an owner that they do not list")]
    Owner,
}

impl Default for RouteCache {
    fn default() -> Self {
        Self {
            tag: 0,
            nodes: Vec::new(),
            owners: vec![None; usize::from(SLOT_COUNT)],
            told: BTreeMap::new(),
        }
    }
}

impl RouteCache {
    /// Takes these routes for all slots. Whether anything is different now.
    ///
    /// # Errors
    /// [`BadRoutes`]; everything is then as it was.
    pub(super) fn accept(&mut self, routes: &Routes) -> Result<bool, BadRoutes> {
        if self.tag == routes.tag && self.told.is_empty() {
            return Ok(false);
        }
        self.owners = owners(routes)?;
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

    /// A node said that at `epoch` the slot's owner is `owner`. Whether that is news.
    pub(super) fn redirect(&mut self, slot: Slot, epoch: u64, owner: NodeId) -> bool {
        if self.told.get(&slot.number()).is_some_and(|&at| at > epoch) {
            return false;
        }
        self.told.insert(slot.number(), epoch);
        let place = self.nodes.iter().position(|known| known.node == owner);
        let place = place.and_then(|place| u16::try_from(place).ok());
        match self.owners.get_mut(slot.index()) {
            Some(known) if *known != place => {
                *known = place;
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
        let place = self.owners.get(slot.index()).copied().flatten()?;
        self.nodes.get(usize::from(place))
    }

    /// For each slot the owner's place among [`Self::nodes`].
    pub(super) fn owners(&self) -> &[Option<u16>] {
        &self.owners
    }

    /// All nodes that are known.
    pub(super) fn nodes(&self) -> &[KnownNode] {
        &self.nodes
    }

    /// Whether any owner is known.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes that own slots, each once.
    pub(super) fn owning(&self) -> impl Iterator<Item = &KnownNode> {
        let mut owns = vec![false; self.nodes.len()];
        for place in self.owners.iter().flatten() {
            if let Some(owns) = owns.get_mut(usize::from(*place)) {
                *owns = true;
            }
        }
        self.nodes
            .iter()
            .zip(owns)
            .filter_map(|(node, owns)| owns.then_some(node))
    }
}

fn owners(routes: &Routes) -> Result<Vec<Option<u16>>, BadRoutes> {
    let slots = routes
        .runs
        .iter()
        .fold(0_u32, |sum, run| sum.saturating_add(u32::from(run.0)));
    if slots != u32::from(SLOT_COUNT) {
        return Err(BadRoutes::Slots { slots });
    }
    let mut owners = Vec::with_capacity(usize::from(SLOT_COUNT));
    for &(slots, place) in &routes.runs {
        let owner = match place {
            UNOWNED => None,
            place if usize::from(place) < routes.nodes.len() => Some(place),
            _missing => return Err(BadRoutes::Owner),
        };
        owners.extend(std::iter::repeat_n(owner, usize::from(slots)));
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::routes::RouteNode;

    fn routes(tag: u64, nodes: &[u128], runs: &[(u16, u16)]) -> Routes {
        Routes {
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
        }
    }

    fn owner(cache: &RouteCache, slot: u16) -> Option<u128> {
        let known = cache.owner(Slot::new(slot).unwrap());
        known.map(|known| known.node.0)
    }

    #[test]
    fn runs_name_the_owner_of_every_slot() {
        let mut cache = RouteCache::default();
        assert_eq!(owner(&cache, 0), None);
        let runs = [(1, 1), (4000, 0), (90, UNOWNED), (5, 1)];
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
            (vec![(4096, 1)], BadRoutes::Owner),
        ] {
            assert_eq!(cache.accept(&routes(6, &[8], &runs)), Err(error));
            assert_eq!(owner(&cache, 9), Some(7));
        }
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
                    let runs = [(1, 0), (1, 1), (1, UNOWNED), (4093, 0)];
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
