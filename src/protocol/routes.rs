//! Which nodes own and hold which slots, as clients learn it.
//!
//! A client asks with [`super::client::RequestBody::ReplicaRoutes`] on one of its streams and names
//! the routes that it has; the node answers at once if it has others, else when it gets others or the
//! request's deadline comes near (then with what the client has). So one request that is always open
//! is a push. Slots are given in runs, since neighbouring ones are often held by the same nodes, and
//! each set of nodes once, since there are far fewer sets than slots.
//!
//! A client that speaks protocol version 1 asks with [`super::client::RequestBody::Routes`] and is
//! told owners only.

use serde::{Deserialize, Serialize};

use super::bounded;
use crate::types::{HOLDERS_TOLD, SLOT_COUNT};

/// Most runs and sets: one a slot.
const RUNS_MAX: usize = SLOT_COUNT as usize;

/// Owners of all slots, as one node knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Routes {
    /// A hash of all that follows and of the policy set; never 0. Two nodes that know the same give
    /// the same.
    pub(crate) tag: u64,
    /// A hash of the policy set in force, which denials that a client keeps are tied to.
    pub(crate) policies: u64,
    /// The nodes that own slots, and those that could be asked instead.
    #[serde(deserialize_with = "bounded::batch")]
    pub(crate) nodes: Vec<RouteNode>,
    /// Runs of slots, from slot 0 to the last: how many, and the place of their owner in `nodes`;
    /// [`NOBODY`] if none is known.
    pub(crate) runs: Vec<(u16, u16)>,
}

/// Owners of all slots and who would take them over, as one node knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaRoutes {
    /// As in [`Routes`].
    pub(crate) tag: u64,
    /// As in [`Routes`].
    pub(crate) policies: u64,
    /// As in [`Routes`].
    #[serde(deserialize_with = "bounded::batch")]
    pub(crate) nodes: Vec<RouteNode>,
    /// The sets of nodes that hold slots, each once, by their places in `nodes`: the owner, then the
    /// others by the rank in which they would take over; [`NOBODY`] where there are fewer, or the
    /// owner is not known.
    #[serde(deserialize_with = "bounded::at_most::<_, _, RUNS_MAX>")]
    pub(crate) sets: Vec<[u16; HOLDERS_TOLD]>,
    /// Runs of slots, from slot 0 to the last: how many, and the place of their set in `sets`.
    #[serde(deserialize_with = "bounded::at_most::<_, _, RUNS_MAX>")]
    pub(crate) runs: Vec<(u16, u16)>,
}

/// Stands for "no node" where the place of one is expected.
pub(crate) const NOBODY: u16 = u16::MAX;

/// A node, and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteNode {
    /// Its id.
    pub(crate) node: u128,
    /// Its advertised address, `host:port`.
    pub(crate) address: String,
}

impl From<Routes> for ReplicaRoutes {
    /// Each owner is the only one that holds its slots, as far as is known. What was wrong with the
    /// routes still is.
    fn from(routes: Routes) -> Self {
        let owners = u16::try_from(routes.nodes.len()).unwrap_or(NOBODY);
        let alone = |owner| [owner, NOBODY, NOBODY];
        let sets = (0..owners).chain([NOBODY]).map(alone).collect();
        let set_of = |owner| match owner {
            NOBODY => owners,
            owner if owner < owners => owner,
            _missing => NOBODY,
        };
        let runs = routes.runs.into_iter();
        Self {
            tag: routes.tag,
            policies: routes.policies,
            nodes: routes.nodes,
            sets,
            runs: runs.map(|(slots, owner)| (slots, set_of(owner))).collect(),
        }
    }
}

#[cfg(feature = "server")]
impl From<ReplicaRoutes> for Routes {
    /// What a client is told that knows of owners only.
    fn from(routes: ReplicaRoutes) -> Self {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for (slots, set) in routes.runs {
            let set = routes.sets.get(usize::from(set));
            let owner = set.map_or(NOBODY, |&[owner, ..]| owner);
            match runs.last_mut() {
                Some((before, last)) if *last == owner => *before = before.saturating_add(slots),
                Some(_) | None => runs.push((slots, owner)),
            }
        }
        Self {
            tag: routes.tag,
            policies: routes.policies,
            nodes: routes.nodes,
            runs,
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;
    use crate::protocol::client::{RequestBody, Response, ResponseBody};
    use crate::protocol::frame::{FRAME_BYTES_MAX, decode, encode};
    use crate::protocol::golden::{hex, pinned};

    fn nodes(count: u128) -> Vec<RouteNode> {
        let node = |node| RouteNode {
            node,
            address: format!("n{node}:1"),
        };
        (1..=count).map(node).collect()
    }

    fn replica_routes() -> ReplicaRoutes {
        ReplicaRoutes {
            tag: 300,
            policies: 7,
            nodes: nodes(2),
            sets: vec![[0, 1, NOBODY], [0, NOBODY, NOBODY], [1, 0, NOBODY]],
            runs: vec![(1000, 0), (2000, 1), (1096, 2)],
        }
    }

    #[test]
    fn both_kinds_of_routes_keep_their_bytes() {
        for (body, golden) in [
            (RequestBody::Routes { known: 300 }, "0300000007ac02"),
            (RequestBody::ReplicaRoutes { known: 300 }, "0300000008ac02"),
        ] {
            let mut frame = Vec::new();
            encode(&body, &mut frame).unwrap();
            assert_eq!(hex(&frame), golden);
        }
        let body = ResponseBody::Routes(Box::new(replica_routes().into()));
        pinned(
            &Response { id: 200, body },
            "1a000000c80105ac02070201046e313a3102046e323a3102b81700c80801",
        );
        let body = ResponseBody::ReplicaRoutes(Box::new(replica_routes()));
        pinned(
            &Response { id: 200, body },
            "2f000000c80106ac02070201046e313a3102046e323a31030001ffff0300ffff03ffff030100ffff0303e80700d00f01c80802",
        );
    }

    #[test]
    fn who_is_told_owners_only_is_told_the_same_owners() {
        let routes = Routes::from(replica_routes());
        assert_eq!(routes.runs, [(3000, 0), (1096, 1)]);
        let unowned = Routes {
            runs: vec![(1, 0), (4000, NOBODY), (95, 1)],
            ..routes
        };
        let there = ReplicaRoutes::from(unowned.clone());
        assert_eq!(Routes::from(there), unowned);
    }

    #[test]
    fn what_is_no_node_of_the_routes_does_not_become_one() {
        let wrong = Routes {
            runs: vec![(4096, 2)],
            nodes: nodes(2),
            ..Routes::default()
        };
        let [(_, set)] = ReplicaRoutes::from(wrong).runs[..] else {
            panic!("one run");
        };
        assert_eq!(set, NOBODY);
    }

    #[test]
    fn more_sets_or_runs_than_slots_are_refused() {
        let fitting = ReplicaRoutes {
            sets: vec![[1, 2, 3]; RUNS_MAX],
            runs: vec![(1, 9); RUNS_MAX],
            ..ReplicaRoutes::default()
        };
        for (sets, runs) in [(0, 0), (1, 0), (0, 1)] {
            let mut routes = fitting.clone();
            routes.sets.resize(RUNS_MAX + sets, [0; HOLDERS_TOLD]);
            routes.runs.resize(RUNS_MAX + runs, (0, 0));
            let mut frame = Vec::new();
            encode(&routes, &mut frame).unwrap();
            assert!(frame.len() < FRAME_BYTES_MAX / 2, "one set a slot");
            let read = decode::<ReplicaRoutes>(&frame[4..]);
            assert_eq!(read.is_ok(), sets + runs == 0);
        }
    }
}
