//! Which node owns which slot, as clients learn it.
//!
//! A client asks with [`super::client::RequestBody::Routes`] on one of its streams and names the
//! routes that it has; the node answers at once if it has others, else when it gets others or the
//! request's deadline comes near (then with what the client has). So one request that is always open
//! is a push. Owners are given in runs, since neighbouring slots often share one.

use serde::{Deserialize, Serialize};

use super::bounded;

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
    /// [`UNOWNED`] if none is known.
    pub(crate) runs: Vec<(u16, u16)>,
}

/// Stands for "no owner known" in [`Routes::runs`].
pub(crate) const UNOWNED: u16 = u16::MAX;

/// A node, and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteNode {
    /// Its id.
    pub(crate) node: u128,
    /// Its advertised address, `host:port`.
    pub(crate) address: String,
}
