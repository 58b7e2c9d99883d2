//! Which node has which place of the pool.
//!
//! Pure. Place [`SEEDS`] leads to whichever seed answered. While all its connections lead to one
//! node, that node is *at home* there and needs no other place. Every other node that owns slots
//! gets a place of its own, as long as there are places; the slots of the rest are asked anywhere.

use super::route_cache::KnownNode;
use super::seed::Seed;
use crate::types::NodeId;

/// The place of the connections to seeds.
pub(super) const SEEDS: usize = 0;

/// Most nodes that have a place of their own.
pub(super) const NODES_MAX: usize = 64;

/// A node and the address under which it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seated {
    pub(super) node: NodeId,
    pub(super) address: Seed,
    /// It is gone from the routes, or moved; its place is not free yet.
    leaving: bool,
}

impl Seated {
    /// Whether it is the node's, and stays so.
    fn is_of(&self, node: NodeId) -> bool {
        self.node == node && !self.leaving
    }
}

/// What is to be done with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// A node has it now.
    Open(usize),
    /// Its node leaves.
    Retire(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Seats {
    /// By place; [`SEEDS`] stays empty.
    seated: Vec<Option<Seated>>,
    /// For each connection to a seed, whom it leads to; `None` while it is down.
    seeds: Vec<Option<NodeId>>,
    home: Option<NodeId>,
}

impl Seats {
    /// No node has a place; so many connections to seeds are to come.
    pub(super) fn new(seeds: usize) -> Self {
        Self {
            seated: vec![None; NODES_MAX.saturating_add(1)],
            seeds: vec![None; seeds],
            home: None,
        }
    }

    /// Connection `n` to a seed leads to `node` now, or nowhere. Whether another node, or none, is
    /// at home since.
    pub(super) fn set_seed(&mut self, n: usize, node: Option<NodeId>) -> bool {
        if let Some(seed) = self.seeds.get_mut(n) {
            *seed = node;
        }
        let mut up = self.seeds.iter().flatten();
        // While all are down, nobody else moves in: whoever comes back first may be the same.
        let Some(&first) = up.next() else {
            return false;
        };
        let home = up.all(|&node| node == first).then_some(first);
        let changed = home != self.home;
        self.home = home;
        changed
    }

    /// The place through which `node` is asked directly.
    pub(super) fn place_of(&self, node: NodeId) -> Option<usize> {
        if self.home == Some(node) {
            return Some(SEEDS);
        }
        self.seated
            .iter()
            .position(|seated| seated.as_ref().is_some_and(|seated| seated.is_of(node)))
    }

    /// Who has a place.
    pub(super) fn at(&self, place: usize) -> Option<&Seated> {
        self.seated.get(place)?.as_ref()
    }

    /// Gives places to the nodes that own slots now, and takes them from those that do not.
    pub(super) fn arrange<'a>(&mut self, owning: impl Iterator<Item = &'a KnownNode>) -> Vec<Move> {
        let home = self.home;
        let wanted: Vec<(NodeId, &Seed)> = owning
            .filter(|known| Some(known.node) != home)
            .filter_map(|known| Some((known.node, known.address.as_ref()?)))
            .take(NODES_MAX)
            .collect();
        let mut moves = Vec::new();
        for (place, seated) in self.seated.iter_mut().enumerate() {
            let Some(seated) = seated.as_mut().filter(|seated| !seated.leaving) else {
                continue;
            };
            if !wanted.contains(&(seated.node, &seated.address)) {
                seated.leaving = true;
                moves.push(Move::Retire(place));
            }
        }
        for (node, address) in wanted {
            if self.place_of(node).is_some() {
                continue;
            }
            let mut places = self.seated.iter_mut().enumerate().skip(1);
            let Some((place, free)) = places.find(|(_, seated)| seated.is_none()) else {
                break;
            };
            *free = Some(Seated {
                node,
                address: address.clone(),
                leaving: false,
            });
            moves.push(Move::Open(place));
        }
        moves
    }

    /// The place's links have ended: it is free.
    pub(super) fn vacate(&mut self, place: usize) {
        if let Some(seated) = self.seated.get_mut(place) {
            *seated = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(nodes: &[u128]) -> Vec<KnownNode> {
        let known = nodes.iter().map(|node| KnownNode {
            node: NodeId(*node),
            address: Some(Seed::from(format!("node-{node}.example:1"))),
        });
        known.collect()
    }

    fn arrange(seats: &mut Seats, nodes: &[u128]) -> Vec<Move> {
        seats.arrange(known(nodes).iter())
    }

    #[test]
    fn who_owns_slots_has_a_place_until_it_owns_none() {
        let mut seats = Seats::new(1);
        let moves = arrange(&mut seats, &[7, 8]);
        assert_eq!(moves, [Move::Open(1), Move::Open(2)]);
        assert_eq!(arrange(&mut seats, &[8, 7]), []);
        assert_eq!(arrange(&mut seats, &[8]), [Move::Retire(1)]);
        assert_eq!(seats.place_of(NodeId(7)), None, "it leaves");
        // Not free yet: who comes back meanwhile gets another one.
        assert_eq!(arrange(&mut seats, &[7, 8]), [Move::Open(3)]);
        seats.vacate(1);
        assert_eq!(arrange(&mut seats, &[7, 8, 9]), [Move::Open(1)]);
        assert_eq!(seats.place_of(NodeId(7)), Some(3));
        assert_eq!(seats.place_of(NodeId(9)), Some(1));
    }

    #[test]
    fn a_node_that_all_seed_connections_lead_to_is_at_home_there() {
        let mut seats = Seats::new(2);
        assert!(seats.set_seed(0, Some(NodeId(7))));
        assert_eq!(arrange(&mut seats, &[7]), []);
        assert_eq!(seats.place_of(NodeId(7)), Some(SEEDS));
        assert!(!seats.set_seed(1, Some(NodeId(7))));
        assert!(!seats.set_seed(0, None));
        assert!(!seats.set_seed(1, None), "all are down: it stays");
        assert_eq!(seats.place_of(NodeId(7)), Some(SEEDS));
        assert!(seats.set_seed(0, Some(NodeId(8))));
        assert_eq!(arrange(&mut seats, &[7, 8]), [Move::Open(1)]);
        assert!(seats.set_seed(1, Some(NodeId(7))), "two nodes: no home");
        assert_eq!(arrange(&mut seats, &[7, 8]), [Move::Open(2)]);
    }

    #[test]
    fn a_node_that_moves_gets_another_place() {
        let mut seats = Seats::new(1);
        arrange(&mut seats, &[7]);
        let mut moved = known(&[7]);
        moved[0].address = Some(Seed::from("elsewhere.example:1"));
        let moves = seats.arrange(moved.iter());
        assert_eq!(moves, [Move::Retire(1), Move::Open(2)]);
        moved[0].address = None;
        assert_eq!(seats.arrange(moved.iter()), [Move::Retire(2)]);
    }

    #[test]
    fn there_are_no_more_places_than_there_are() {
        let nodes: Vec<u128> = (0..100).collect();
        let mut seats = Seats::new(1);
        assert_eq!(arrange(&mut seats, &nodes).len(), NODES_MAX);
        assert_eq!(seats.place_of(NodeId(64)), None);
        assert_eq!(seats.place_of(NodeId(63)), Some(64));
    }
}
