//! A machine and the process on it: everything that a crash, a pause or a power loss takes or
//! leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clocks::Clocks;
use super::disk::Disk;
use super::following::Visit;
use super::judge::GrantId;
use super::queue::NodeEvent;
use super::state::{KEYS_PER_SLOT, SlotState};
use super::wire::{Answer, Asker};
use crate::limiter::SlotClock;
use crate::membership::swim::Swim;
use crate::ownership::Ownership;
use crate::ownership::event::{Effect, TaskId};
use crate::replication::{Parts, Tracker};
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Position, Slot, SlotSet, SlotTime};

/// The id of the `n`th node.
pub(super) fn node_id(n: usize) -> NodeId {
    NodeId((u128::try_from(n).unwrap_or(0) + 1) << 96)
}

/// The reverse of [`node_id`].
pub(super) fn node_of(id: NodeId) -> usize {
    usize::try_from(id.0 >> 96).unwrap_or(0).saturating_sub(1)
}

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) clocks: Clocks,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// How many processes there were; events of earlier ones are void.
    pub(super) life: u64,
    /// The process stands still; what happens to it waits here.
    pub(super) paused: Option<VecDeque<NodeEvent>>,
    /// The power failed since the last start, and may have cost what was written.
    pub(super) lost_power: bool,
    /// The next sync fails.
    pub(super) failing: bool,
    /// When the last sync that was asked for ends.
    pub(super) sync_ends_ns: u64,
    /// An operator has given it up for good.
    pub(super) removed: bool,
    /// The newest version of the policies that is stored.
    pub(super) version: usize,
}

impl Machine {
    pub(super) const fn new(clocks: Clocks, disk: Disk) -> Self {
        Self {
            clocks,
            disk,
            process: None,
            life: 0,
            paused: None,
            lost_power: false,
            failing: false,
            sync_ends_ns: 0,
            removed: false,
            version: 0,
        }
    }

    /// Who owns each slot, as far as the node knows; nothing if it does not answer.
    pub(super) fn known(&self) -> Option<&BTreeMap<Slot, Configuration>> {
        let running = self.process.as_ref().filter(|_| self.paused.is_none());
        running.map(|it| &it.records)
    }
}

/// One life of a node.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) ownership: Ownership,
    /// Effects that are to be carried out, in order.
    pub(super) effects: VecDeque<Effect>,
    pub(super) held: BTreeMap<Slot, Held>,
    /// Who owns each slot, as announced.
    pub(super) records: BTreeMap<Slot, Configuration>,
    /// Answers to what the next commit holds.
    pub(super) uncommitted: Vec<Waiting>,
    /// Answers whose commits are not kept, here and elsewhere.
    pub(super) waiting: Vec<Waiting>,
    /// Commits so far, and up to which they are kept here.
    pub(super) commits: u64,
    pub(super) kept: u64,
    /// Who has what.
    pub(super) tracker: Tracker,
    pub(super) parts: Parts,
    /// The link to each peer.
    pub(super) links: BTreeMap<usize, u64>,
    /// The link from each peer.
    pub(super) visits: BTreeMap<usize, Visit>,
    /// Whose states became a reign of this node before it was chosen.
    pub(super) became: BTreeMap<Slot, (Epoch, Vec<NodeId>)>,
    pub(super) becoming: Vec<Becoming>,
    /// It is looked for them soon.
    pub(super) looking: bool,
    /// Who was heard of since the last tick.
    pub(super) heard: BTreeSet<usize>,
    /// How many replicas the operator wants, as far as it is known here.
    pub(super) replicas: usize,
    pub(super) committing: bool,
    /// States that were pre-copied or fetched, and on which connection.
    pub(super) staged: BTreeMap<Slot, Staged>,
    /// What changed since a peer pre-copied a slot.
    pub(super) copies: BTreeMap<(usize, Slot), [bool; KEYS_PER_SLOT]>,
    /// Copies and rests that are asked for.
    pub(super) transfers: BTreeMap<TaskId, Transfer>,
    /// Requests that were passed on, and who waits.
    pub(super) forwarded: BTreeMap<u64, (Asker, u64)>,
    pub(super) requests: u64,
    /// The weight of each node, as far as it is known here.
    pub(super) weights: Vec<u64>,
    /// Who is there.
    pub(super) swim: Option<Swim>,
    /// The earliest time at which it wants to look again.
    pub(super) look: Option<MonoTime>,
    pub(super) retargeting: bool,
    /// A clock that knows no slot, for the mutation that leaves theirs out of the hand-off.
    pub(super) own_clock: SlotClock,
    /// The earliest tick that was asked for.
    pub(super) wake: Option<MonoTime>,
}

/// A state and what this process does with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: SlotState,
    pub(super) serving: Option<Serving>,
    pub(super) dirty: bool,
    /// Keys that have changed since the last commit.
    pub(super) changed: [bool; KEYS_PER_SLOT],
    /// It takes in what its owner commits.
    pub(super) followed: bool,
    /// It is served with other replicas.
    pub(super) has_others: bool,
    /// Grants since the last commit.
    pub(super) fresh: Vec<GrantId>,
}

/// A reign in this life of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Serving {
    pub(super) epoch: Epoch,
    pub(super) clock: SlotClock,
    /// What the wall clock showed when the reign began, for the mutation that goes by it.
    pub(super) wall_ms: u64,
}

impl Held {
    /// A state that is not served.
    pub(super) const fn resting(state: SlotState) -> Self {
        Self {
            state,
            serving: None,
            dirty: false,
            changed: [false; KEYS_PER_SLOT],
            followed: false,
            has_others: false,
            fresh: Vec::new(),
        }
    }
}

/// A state on its way in.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) from: usize,
    pub(super) connection: u64,
    pub(super) state: SlotState,
    /// It is whole, as its digest says; else a pre-copy.
    pub(super) whole: bool,
}

/// A copy or rest that was asked for.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) from: usize,
    pub(super) connection: u64,
    pub(super) kind: Kind,
}

/// What is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A copy while the owner serves.
    PreCopy,
    /// The rest of a sealed state.
    Rest,
    /// A copy for a replica.
    CatchUp,
}

/// An answer that waits until its commit is kept.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) slot: Slot,
    pub(super) asker: Asker,
    pub(super) request: u64,
    pub(super) answer: Answer,
}

/// States on their way to be those of another epoch.
#[derive(Debug)]
pub(super) struct Becoming {
    pub(super) task: TaskId,
    pub(super) epoch: Epoch,
    /// Those that are not there yet.
    pub(super) waiting: Vec<(Slot, Position, SlotTime)>,
    pub(super) became: SlotSet,
    pub(super) until_ns: u64,
}
