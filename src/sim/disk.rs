//! A disk that tells written from synced. What is written survives `kill -9`; what is synced
//! survives power loss too, and of the rest an arbitrary suffix is lost, as with a log whose torn
//! tail is cut off at recovery.

use std::collections::{BTreeMap, VecDeque};

use super::judge::GrantId;
use super::state::SlotState;
use crate::limiter::StartClocks;
use crate::ownership::record::Register;
use crate::types::{Epoch, Slot, SlotTime};

/// Something that is written at once, all or nothing.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Registers of [`crate::ownership::event::Effect::Persist`].
    Registers(Vec<(Slot, Register)>),
    /// Registers and the states that go with them.
    Install(Vec<(Slot, Register, SlotState)>),
    /// What a commit changed, and the grants that are new in it.
    Commit(Vec<(Slot, SlotState)>, Vec<GrantId>),
    /// The clocks.
    Stamp(Stamp),
    /// How often the node has started.
    Boots(u64),
    /// States that may go.
    Drop(Vec<Slot>),
    /// Registers that go too: only a mutation does that.
    Forget(Vec<Slot>),
}

/// All clocks of a node at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Stamp {
    pub(super) clocks: Option<StartClocks>,
    /// Of each slot that was served its epoch and what its clock showed.
    pub(super) slots: BTreeMap<Slot, (Epoch, SlotTime)>,
}

/// What is found when the disk is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) registers: BTreeMap<Slot, Register>,
    pub(super) states: BTreeMap<Slot, SlotState>,
    pub(super) stamp: Stamp,
    pub(super) boots: u64,
}

impl Image {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Registers(registers) => self.registers.extend(registers.iter().copied()),
            Write::Install(slots) => {
                for (slot, register, state) in slots {
                    self.registers.insert(*slot, *register);
                    self.states.insert(*slot, state.clone());
                }
            }
            Write::Commit(slots, _) => self.states.extend(slots.iter().cloned()),
            Write::Stamp(stamp) => self.stamp = stamp.clone(),
            Write::Boots(boots) => self.boots = *boots,
            Write::Drop(slots) => slots.iter().for_each(|slot| {
                self.states.remove(slot);
            }),
            Write::Forget(slots) => slots.iter().for_each(|slot| {
                self.registers.remove(slot);
            }),
        }
    }
}

/// The disk of one machine.
#[derive(Debug, Default)]
pub(super) struct Disk {
    written: Image,
    synced: Image,
    unsynced: VecDeque<(u64, Write)>,
    writes: u64,
}

impl Disk {
    /// A disk that holds these registers and states, synced.
    pub(super) fn new(
        registers: BTreeMap<Slot, Register>,
        states: BTreeMap<Slot, SlotState>,
    ) -> Self {
        let image = Image {
            registers,
            states,
            ..Image::default()
        };
        Self {
            written: image.clone(),
            synced: image,
            ..Self::default()
        }
    }

    /// What a process of this boot reads.
    pub(super) const fn read(&self) -> &Image {
        &self.written
    }

    /// Writes, and returns the number of the write.
    pub(super) fn write(&mut self, write: Write) -> u64 {
        self.written.apply(&write);
        self.writes += 1;
        self.unsynced.push_back((self.writes, write));
        self.writes
    }

    /// The number of the last write.
    pub(super) const fn last_write(&self) -> u64 {
        self.writes
    }

    /// All writes up to this one are synced.
    pub(super) fn synced(&mut self, upto: u64) {
        while let Some((number, write)) = self.unsynced.front() {
            if *number > upto {
                break;
            }
            self.synced.apply(write);
            self.unsynced.pop_front();
        }
    }

    /// How many writes a power loss could cost now.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The power fails: of the unsynced writes the first `kept` are there all the same. Returns the
    /// others.
    pub(super) fn lose_power(&mut self, kept: usize) -> Vec<Write> {
        let lost = self.unsynced.split_off(kept.min(self.unsynced.len()));
        self.synced(u64::MAX);
        self.written = self.synced.clone();
        lost.into_iter().map(|(_, write)| write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boots_after(kept: usize) -> (u64, usize) {
        let mut disk = Disk::default();
        for boots in 1..=4 {
            disk.write(Write::Boots(boots));
        }
        disk.synced(2);
        assert_eq!((disk.read().boots, disk.unsynced()), (4, 2));
        let lost = disk.lose_power(kept).len();
        (disk.read().boots, lost)
    }

    #[test]
    fn a_power_loss_costs_a_suffix_of_what_was_not_synced() {
        assert_eq!(boots_after(0), (2, 2));
        assert_eq!(boots_after(1), (3, 1));
        assert_eq!(boots_after(9), (4, 0));
    }
}
