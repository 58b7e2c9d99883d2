//! The door to what only the node knows and no admin is told.

use std::fmt::Debug;

/// Tells it. Called when metrics are scraped, and returns at once.
pub(crate) trait Figures: Debug + Send + Sync + 'static {
    /// What was counted until now.
    fn figures(&self) -> NodeFigures;
}

/// What a node counts beside what an admin is told. Counters start at zero with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeFigures {
    /// By policy, in order of name.
    pub(crate) policies: Vec<PolicyFigures>,
    /// Bytes of commit records written.
    pub(crate) commit_bytes: u64,
}

/// The checks of one policy that this node has answered by its own counts or by `on_failure`; what it
/// passed on is counted where it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyFigures {
    /// Name of the policy.
    pub(crate) policy: String,
    /// Granted.
    pub(crate) allowed: u64,
    /// Denied.
    pub(crate) denied: u64,
    /// Let through by a policy in shadow mode that would have denied.
    pub(crate) shadow_denied: u64,
    /// Answered without the counts, as `on_failure` says.
    pub(crate) degraded: u64,
}
