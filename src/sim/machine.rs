//! A machine and the process on it: everything that a crash, a pause or a power loss takes or
//! leaves.

use std::collections::{BTreeMap, VecDeque};

use super::clocks::Clocks;
use super::disk::Disk;
use super::judge::GrantId;
use super::queue::NodeEvent;
use super::state::{KEYS_PER_SLOT, SlotState};
use super::wire::{Answer, Asker};
use crate::limiter::SlotClock;
use crate::membership::swim::Swim;
use crate::ownership::Ownership;
use crate::ownership::event::{Effect, TaskId};
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Slot};

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
    pub(super) uncommitted: Vec<(Asker, u64, Answer)>,
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
    /// It is the rest of a sealed state, with the slot times to expect.
    pub(super) rest: bool,
}
