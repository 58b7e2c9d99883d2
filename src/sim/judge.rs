//! The judge: sees every fact of a run in true time, and asks each invariant about it.

use super::invariants::{self, Invariant};
use super::ledger::Ledger;
use super::state::{Key, SlotState};
use crate::limiter::policy::Limits;
use crate::ownership::record::Register;
use crate::types::{Configuration, Epoch, Slot, SlotTime};

/// Names one grant of a run.
pub(super) type GrantId = usize;

/// What happened, as somebody sees it who sees everything.
#[derive(Debug, Clone)]
pub(super) enum Fact<'a> {
    /// An owner has granted.
    Decided(Decided<'a>),
    /// A client has got the answer that this key's grant is its own.
    Acknowledged { grant: GrantId, key: Key },
    /// A client gives a grant back, or may have.
    GivenBack { grant: GrantId },
    /// A commit was lost with the power, as the durability of the run allows. In quarantine the
    /// grant still counts towards the limit.
    LostWithPower { grant: GrantId, quarantined: bool },
    /// The state of a slot is gone with its only holder, as an operator vouched.
    Vouched { slot: Slot },
    /// A node has begun to serve.
    Served {
        node: usize,
        life: u64,
        slot: Slot,
        epoch: Epoch,
        /// It is the only replica.
        alone: bool,
        state: &'a SlotState,
    },
    /// It has ended, by itself or with its process.
    Stopped { node: usize, slot: Slot },
    /// A state with its position: committed, taken in, found after a start, or installed. Where
    /// `all`, nothing that was acknowledged up to its epoch may be missing.
    Held {
        slot: Slot,
        state: &'a SlotState,
        all: bool,
    },
    /// A register that is durable, or was found after a start.
    Registered {
        node: usize,
        slot: Slot,
        register: &'a Register,
    },
    /// A configuration that somebody takes for chosen.
    Chosen {
        slot: Slot,
        chosen: &'a Configuration,
    },
    /// A client was told of a version of the policy set.
    Told { client: usize, version: usize },
    /// A client has denied by itself, from a denial under this version.
    DeniedFromCache { client: usize, version: usize },
}

/// See [`Fact::Decided`].
#[derive(Debug, Clone)]
pub(super) struct Decided<'a> {
    pub(super) key: Key,
    pub(super) epoch: Epoch,
    pub(super) at_slot: SlotTime,
    pub(super) cost: u64,
    pub(super) limits: &'a Limits,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What is wrong, in words.
    pub what: String,
    /// When, in true time.
    pub at_ns: u64,
}

/// Sees everything, and remembers the first thing that is wrong.
#[derive(Debug)]
pub(super) struct Judge {
    ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    facts: u64,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            invariants: invariants::all(),
            violation: None,
            facts: 0,
        }
    }

    /// Tells a fact.
    pub(super) fn see(&mut self, now_ns: u64, fact: &Fact<'_>) {
        self.facts += 1;
        self.ledger.note(now_ns, fact);
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(&self.ledger, now_ns, fact)
                && self.violation.is_none()
            {
                self.violation = Some(Violation {
                    invariant: invariant.name(),
                    what,
                    at_ns: now_ns,
                });
            }
        }
    }

    /// Reports something wrong that the world itself has seen.
    pub(super) fn report(&mut self, now_ns: u64, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation {
            invariant,
            what,
            at_ns: now_ns,
        });
    }

    /// The number that the next grant will have.
    pub(super) fn next_grant(&self) -> GrantId {
        self.ledger.grants().len()
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many facts were judged.
    pub(super) const fn facts(&self) -> u64 {
        self.facts
    }

    /// The first thing that is wrong.
    pub(super) const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}
