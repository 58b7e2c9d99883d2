//! A node of the tests' world and its disk.

use std::collections::{BTreeMap, VecDeque};

use super::super::Ownership;
use super::super::event::{Effect, Event, Installed, Origin, TaskId};
use super::super::record::Register;
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// The state of a slot: how far, and how many grants it knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) at: Position,
    pub(super) grants: u64,
}

/// Slots to fetch; frozen ones at a position.
pub(super) type Wanted = Vec<(Slot, Option<Position>)>;

/// What is done to the disk, in order.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Registers(TaskId, Vec<(Slot, Register)>),
    Install(TaskId, Epoch, Vec<Installed>),
    Report(TaskId, Box<SlotSet>),
}

/// A node and its disk.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) life: Ownership,
    pub(super) registers: Vec<Option<Register>>,
    pub(super) states: BTreeMap<Slot, State>,
    /// Fetched states that are not installed yet.
    pub(super) beside: BTreeMap<Slot, State>,
    pub(super) serving: BTreeMap<Slot, Epoch>,
    pub(super) writes: VecDeque<Write>,
    pub(super) fetches: VecDeque<(TaskId, NodeId, Wanted)>,
    pub(super) up: bool,
    pub(super) log: Vec<Effect>,
}

impl Node {
    pub(super) fn write(&mut self, write: Write) -> Event {
        match write {
            Write::Registers(task, registers) => {
                for (slot, register) in registers {
                    self.store(slot, &register);
                }
                Event::Persisted { task }
            }
            Write::Install(task, epoch, slots) => {
                for it in slots {
                    let grants = match it.origin {
                        Origin::Own => self.states[&it.slot].grants,
                        Origin::Fetched => self.beside[&it.slot].grants,
                        Origin::Lost => 0,
                    };
                    let at = Position { epoch, n: 0 };
                    self.states.insert(it.slot, State { at, grants });
                    self.store(it.slot, &it.register);
                }
                Event::Installed { task }
            }
            Write::Report(task, slots) => {
                let state = |slot: Slot| self.states.get(&slot).copied().unwrap_or_default();
                let report = slots
                    .iter()
                    .map(|slot| (slot, state(slot).at, SlotTime::ZERO));
                let slots = report.collect();
                Event::Frozen { task, slots }
            }
        }
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
