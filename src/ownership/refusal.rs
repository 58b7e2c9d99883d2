//! What was refused of what other nodes said. A peer is a node of the cluster, but it may be wrong,
//! old, or broken: what cannot be is left aside and counted, and changes nothing.

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Refusal {
    /// It claims to come from this node.
    OwnName,
    /// Its ballot is another node's than the sender's, or the answer's is not of this node.
    ForeignBallot,
    /// Its counter is far above all seen.
    Counter,
    /// Its configuration cannot be: an owner that is no replica, or reigns by another's ballot.
    Unsound,
    /// It does not follow on its base, or its epoch is not above that of the base.
    Sequence,
    /// It contradicts what is known to be chosen.
    Contradiction,
    /// It asks this node to accept for replicas that it is none of.
    NoReplica,
    /// It answers nothing that was asked; also normal after a timeout.
    Unasked,
    /// Too many answers are owed already.
    Busy,
    /// It has too many or too few parts.
    Size,
    /// The operator vouches for a node that is connected, or for this one.
    Alive,
    /// It proposes for a slot that it has not sealed here, though only this node could have told it
    /// the state.
    Unsealed,
}

impl Refusal {
    /// Whether only a node says so that is wrong, old, or broken. The third answer where two were enough
    /// comes when nobody waits for it any more.
    pub(crate) const fn is_misconduct(self) -> bool {
        !matches!(self, Self::Unasked | Self::Busy)
    }
}

const KINDS: usize = 12;

/// How often each was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Refusals([u64; KINDS]);

impl Refusals {
    /// All kinds, in order.
    pub(crate) const ALL: [Refusal; KINDS] = [
        Refusal::OwnName,
        Refusal::ForeignBallot,
        Refusal::Counter,
        Refusal::Unsound,
        Refusal::Sequence,
        Refusal::Contradiction,
        Refusal::NoReplica,
        Refusal::Unasked,
        Refusal::Busy,
        Refusal::Size,
        Refusal::Alive,
        Refusal::Unsealed,
    ];

    /// Counts one.
    pub(super) fn add(&mut self, refusal: Refusal) {
        if let Some(count) = self.0.get_mut(refusal as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How often it was.
    pub(crate) fn count(&self, refusal: Refusal) -> u64 {
        self.0.get(refusal as usize).copied().unwrap_or(0)
    }
}
