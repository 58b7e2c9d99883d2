//! A node of the tests' world and its disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::Ownership;
use super::super::event::{Effect, Event, Installed, Origin, TaskId};
use super::super::record::Register;
use super::replicas::{Commit, Reign};
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// The state of a slot: how far, and which grants it knows of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) at: Position,
    pub(super) grants: BTreeSet<u64>,
}

/// Slots to fetch; frozen ones at a position.
pub(super) type Wanted = Vec<(Slot, Option<Position>)>;
/// A copy that was asked for: of slots that another node serves in these reigns.
pub(super) type Copying = (TaskId, NodeId, Vec<(Slot, Epoch)>);

/// What is done to the disk, in order.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Registers(TaskId, Vec<(Slot, Register)>),
    /// With what was fetched of each.
    Install(TaskId, Epoch, Vec<(Installed, Option<State>)>),
    Become(TaskId, Epoch, Vec<(Slot, Position, SlotTime)>),
    Report(TaskId, Box<SlotSet>),
}

/// A node and its disk.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) life: Ownership,
    pub(super) registers: Vec<Option<Register>>,
    pub(super) states: BTreeMap<Slot, State>,
    /// What of them survives a power loss.
    pub(super) synced: BTreeMap<Slot, State>,
    /// Fetched states that are not installed yet.
    pub(super) beside: BTreeMap<Slot, State>,
    pub(super) serving: BTreeMap<Slot, Epoch>,
    /// What it has granted in the reigns that it serves, and who has it.
    pub(super) reigns: BTreeMap<Slot, Reign>,
    pub(super) following: BTreeMap<Slot, Epoch>,
    pub(super) buffered: Vec<(NodeId, Commit)>,
    pub(super) behind: SlotSet,
    pub(super) writes: VecDeque<Write>,
    pub(super) fetches: VecDeque<(TaskId, NodeId, Wanted)>,
    pub(super) copies: VecDeque<Copying>,
    pub(super) up: bool,
    pub(super) log: Vec<Effect>,
}

impl Node {
    pub(super) fn new(
        life: Ownership,
        registers: Vec<Option<Register>>,
        states: BTreeMap<Slot, State>,
    ) -> Self {
        Self {
            life,
            registers,
            synced: states.clone(),
            states,
            beside: BTreeMap::new(),
            serving: BTreeMap::new(),
            reigns: BTreeMap::new(),
            following: BTreeMap::new(),
            buffered: Vec::new(),
            behind: SlotSet::EMPTY,
            writes: VecDeque::new(),
            fetches: VecDeque::new(),
            copies: VecDeque::new(),
            up: true,
            log: Vec::new(),
        }
    }

    /// All that a process forgets.
    pub(super) fn forget(&mut self) {
        self.serving.clear();
        self.reigns.clear();
        self.following.clear();
        self.buffered.clear();
        self.behind = SlotSet::EMPTY;
        self.writes.clear();
        self.fetches.clear();
        self.copies.clear();
        self.beside.clear();
    }

    pub(super) fn write(&mut self, write: Write) -> Event {
        let event = match write {
            Write::Registers(task, registers) => {
                for (slot, register) in registers {
                    self.store(slot, &register);
                }
                Event::Persisted { task }
            }
            Write::Install(task, epoch, slots) => {
                for (it, fetched) in slots {
                    let grants = match it.origin {
                        Origin::Own => self.states[&it.slot].grants.clone(),
                        Origin::Fetched => fetched.expect("what is installed was fetched").grants,
                        Origin::Lost => BTreeSet::new(),
                    };
                    let at = Position { epoch, n: it.n };
                    let held = self.states.get(&it.slot).map(|it| it.at);
                    assert!(held.is_none_or(|held| held <= at), "R2: above its own");
                    self.states.insert(it.slot, State { at, grants });
                    self.store(it.slot, &it.register);
                }
                Event::Installed { task }
            }
            Write::Become(task, epoch, slots) => {
                let mut became = SlotSet::EMPTY;
                for (slot, at, _) in slots {
                    let promised = self.registers[slot.index()].unwrap().promised;
                    assert!(promised >= epoch, "R2: promised before");
                    if let Some(state) = self.states.get_mut(&slot).filter(|it| it.at == at) {
                        state.at = Position { epoch, n: 0 };
                        became.insert(slot);
                    }
                }
                Event::Became {
                    task,
                    slots: became,
                }
            }
            Write::Report(task, slots) => {
                let at = |slot: Slot| self.states.get(&slot).map(|it| it.at).unwrap_or_default();
                let report = slots.iter().map(|slot| (slot, at(slot), SlotTime::ZERO));
                let slots = report.collect();
                Event::Frozen { task, slots }
            }
        };
        self.synced = self.states.clone();
        event
    }

    /// I4: neither ever falls on the disk.
    fn store(&mut self, slot: Slot, register: &Register) {
        let stored = &mut self.registers[slot.index()];
        let old = stored.unwrap_or_default();
        assert!(
            register.promised >= old.promised,
            "slot {slot}: a promise is taken back"
        );
        assert!(
            register.version() >= old.version(),
            "slot {slot}: what was chosen is forgotten"
        );
        *stored = Some(*register);
    }

    pub(super) fn serves(&self) -> Vec<u16> {
        self.serving.keys().map(|it| it.number()).collect()
    }
}
