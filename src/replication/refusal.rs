//! What was refused of what replicas said. A peer is a node of the cluster, but it may be wrong, old,
//! or broken: what cannot be is left aside and counted, and moves nothing.

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Refusal {
    /// It is of a link that is not the peer's current one; normal just after a reconnect.
    ForeignLink,
    /// It acknowledges a number that was never sent on this link.
    NeverSent,
    /// It takes an acknowledgement back.
    Backwards,
    /// It says that something is synced that it has not said to be applied.
    NotApplied,
    /// It is about a slot that is not served here; normal just after the slot has moved.
    NotServed,
    /// It is about another reign than the one in which the slot is served; normal just after a
    /// change of reign.
    OtherEpoch,
    /// It claims a position that the slot has not reached, or one before the first commit that was
    /// sent on this link.
    Position,
    /// It is about a slot whose commits the peer does not get.
    NotFed,
    /// It claims to have promised what is not above the reign.
    Promise,
    /// As many nodes get the slot's commits as may.
    Busy,
}

const KINDS: usize = 10;

/// How often each was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Refusals([u64; KINDS]);

impl Refusals {
    /// All kinds, in order.
    pub(crate) const ALL: [Refusal; KINDS] = [
        Refusal::ForeignLink,
        Refusal::NeverSent,
        Refusal::Backwards,
        Refusal::NotApplied,
        Refusal::NotServed,
        Refusal::OtherEpoch,
        Refusal::Position,
        Refusal::NotFed,
        Refusal::Promise,
        Refusal::Busy,
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
