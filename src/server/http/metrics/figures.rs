//! The door to what only the node knows and no admin is told.

use std::fmt::Debug;

use crate::telemetry::DurationCounts;

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
    /// How long commits took.
    pub(crate) commits: CommitFigures,
    /// Key states that changed since they were last written to rows of the store.
    pub(crate) dirty_keys: u64,
}

/// How long commits took, in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitFigures {
    /// From when the committing task began to gather what had changed until it was written.
    pub(crate) whole: DurationCounts,
    /// The writes alone.
    pub(crate) writes: DurationCounts,
    /// The syncs, which commits share.
    pub(crate) syncs: DurationCounts,
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
    /// All answers without the counts, those to looks and reservations included, by what was lacking,
    /// in the order of [`Lack::ALL`].
    pub(crate) without_counts: [WithoutCounts; Lack::ALL.len()],
}

/// How requests were answered without the counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WithoutCounts {
    /// Let through.
    pub(crate) allowed: u64,
    /// Denied.
    pub(crate) denied: u64,
}

/// Why a request is not decided by the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The storage failed.
    Storage,
    /// What was counted may be lost in part, and a window has not passed since.
    Quarantine,
    /// Too few replicas can be reached.
    Majority,
    /// The owner cannot be reached.
    Owner,
}

impl Lack {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Storage, Self::Quarantine, Self::Majority, Self::Owner];

    /// The word used in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage_failed",
            Self::Quarantine => "quarantine",
            Self::Majority => "no_majority",
            Self::Owner => "owner_unreachable",
        }
    }
}
