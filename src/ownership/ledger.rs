//! What all parts of the room share: the registers of this node, the highest counter seen, who is
//! connected, and what is to be done.
//!
//! A register changes in memory at once, since a promise that is not yet synced only refuses more;
//! but what rests on it is said only when its write is synced (R3, R4). Every change marks its slot,
//! and the step is not over before `ownership` has drawn the consequences for all that are marked.

use std::collections::BTreeSet;

use super::event::TaskId;
use super::member::Owed;
use super::outbox::Outbox;
use super::record::{Register, is_sound};
use super::refusal::{Refusal, Refusals};
use super::settings::{COUNTER_JUMP_MAX, Jitter, Settings};
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Replicas, SLOT_COUNT, Slot, SlotSet};

const UNKNOWN: &Register = &Register {
    promised: Epoch::ZERO,
    chosen: None,
    accepted: None,
    complete: false,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) me: NodeId,
    pub(super) now: MonoTime,
    pub(super) settings: Settings,
    pub(super) out: Outbox,
    pub(super) refusals: Refusals,
    pub(super) jitter: Jitter,
    /// Who is connected.
    pub(super) peers: BTreeSet<NodeId>,
    /// Answers that wait for the disk.
    pub(super) owed: Vec<Owed>,
    /// Slots of which something has changed in this step.
    pub(super) changed: SlotSet,
    /// Slots whose newest configuration names others, and whose state has not been dropped yet.
    pub(super) leaving: SlotSet,
    pub(super) registers: Vec<Register>,
    /// Of each slot, who should hold it; the first should own it. None before that was told.
    pub(super) targets: Vec<Replicas>,
    /// Slots that several nodes hold, or should hold: all others have no replicas to look after.
    pub(super) replicated: SlotSet,
    counter: u64,
}

impl Ledger {
    pub(super) fn new(
        me: NodeId,
        registers: Vec<Option<Register>>,
        settings: Settings,
        seed: u64,
    ) -> Self {
        let stored = registers.into_iter().chain(std::iter::repeat(None));
        let registers: Vec<Register> = stored
            .take(usize::from(SLOT_COUNT))
            .map(Option::unwrap_or_default)
            .collect();
        let counter = registers.iter().map(Self::counter_in).max().unwrap_or(0);
        let mut ledger = Self {
            me,
            now: MonoTime::default(),
            settings,
            out: Outbox::default(),
            refusals: Refusals::default(),
            jitter: Jitter::new(seed),
            peers: BTreeSet::new(),
            owed: Vec::new(),
            changed: SlotSet::EMPTY,
            leaving: SlotSet::EMPTY,
            registers,
            targets: Vec::new(),
            replicated: SlotSet::EMPTY,
            counter,
        };
        ledger.note_targets();
        ledger
    }

    fn counter_in(register: &Register) -> u64 {
        let chosen = register.chosen.map_or(0, |it| it.epoch.counter);
        let accepted = register.accepted.map_or(0, |it| it.0.counter);
        register.promised.counter.max(chosen).max(accepted)
    }

    pub(super) fn registers(&self) -> &[Register] {
        &self.registers
    }

    pub(super) fn register(&self, slot: Slot) -> &Register {
        self.registers.get(slot.index()).unwrap_or(UNKNOWN)
    }

    /// What is known to be chosen of a slot.
    pub(super) fn chosen(&self, slot: Slot) -> Option<&Configuration> {
        self.register(slot).chosen.as_ref()
    }

    /// Whether this node is the owner, as far as it knows.
    pub(super) fn is_owner(&self, slot: Slot) -> bool {
        self.chosen(slot).is_some_and(|it| it.owner == self.me)
    }

    /// The targets have changed.
    pub(super) fn note_targets(&mut self) {
        Slot::all().for_each(|slot| self.note_replicas(slot));
    }

    fn note_replicas(&mut self, slot: Slot) {
        let wanted = !self.wanted_replicas(slot).as_slice().is_empty();
        let chosen = self.chosen(slot);
        if chosen.is_some_and(|it| wanted || it.replicas.majority() > 1) {
            self.replicated.insert(slot);
        } else {
            self.replicated.remove(slot);
        }
    }

    /// Who should hold a slot beside its owner: nobody where one replica is wanted, since a slot of
    /// one replica is moved whole.
    pub(super) fn wanted_replicas(&self, slot: Slot) -> Replicas {
        let targets = self.targets.get(slot.index()).copied().unwrap_or_default();
        if targets.as_slice().len() > 1 {
            targets
        } else {
            Replicas::default()
        }
    }

    /// Whether this node should hold the state of a slot: it is one of its replicas, or shall be.
    pub(super) fn should_hold(&self, slot: Slot) -> bool {
        let chosen = self.chosen(slot);
        let named = chosen.is_some_and(|it| it.replicas.contains(self.me));
        named || (chosen.is_some() && self.wanted_replicas(slot).contains(self.me))
    }

    /// A ballot above all seen. Its promise to this node itself is synced before it is told to
    /// anyone, so that it is never used twice.
    pub(super) fn next_ballot(&mut self) -> Epoch {
        self.counter = self.counter.saturating_add(1);
        Epoch {
            counter: self.counter,
            node: self.me,
        }
    }

    /// Leaves out numbers, so that the next ballot is above what others may have used unheard.
    pub(super) fn skip_ballots(&mut self, count: u64) {
        self.counter = self.counter.saturating_add(count);
    }

    /// Takes note of a counter that was heard, if it can be.
    pub(super) fn heard(&mut self, epoch: Epoch) -> bool {
        let may = epoch.counter <= self.counter.saturating_add(COUNTER_JUMP_MAX);
        if may {
            self.counter = self.counter.max(epoch.counter);
        } else {
            self.refusals.add(Refusal::Counter);
        }
        may
    }

    /// R3, on one register; the write that must be synced before it counts.
    pub(super) fn promise(&mut self, slot: Slot, ballot: Epoch) -> Option<TaskId> {
        let register = self.registers.get_mut(slot.index())?;
        register.promise(ballot).then(|| {
            self.changed.insert(slot);
            self.out.persist(slot)
        })
    }

    /// R4, on one register, without the write: the caller sees to it.
    pub(super) fn accept(
        &mut self,
        slot: Slot,
        ballot: Epoch,
        base: Configuration,
        proposed: Configuration,
    ) -> bool {
        let was_replica = self.is_one_of_several(slot);
        let Some(register) = self.registers.get_mut(slot.index()) else {
            return false;
        };
        let news = register.version() < base.version;
        let accepted = register.accept(ballot, base, proposed);
        if accepted {
            self.changed.insert(slot);
            if news {
                self.note_chosen(slot, base, was_replica);
            }
        }
        accepted
    }

    /// Takes note of a configuration that is chosen, if it is news.
    pub(super) fn learn(&mut self, slot: Slot, chosen: Configuration) -> bool {
        let was_replica = self.is_one_of_several(slot);
        let Some(register) = self.registers.get_mut(slot.index()) else {
            return false;
        };
        let news = register.learn(chosen);
        if news {
            self.changed.insert(slot);
            self.out.persist(slot);
            self.note_chosen(slot, chosen, was_replica);
        }
        news
    }

    /// Whether this node is one of several replicas: it may hold something even if it is not whole.
    fn is_one_of_several(&self, slot: Slot) -> bool {
        let chosen = self.chosen(slot);
        chosen.is_some_and(|it| it.replicas.majority() > 1 && it.replicas.contains(self.me))
    }

    fn note_chosen(&mut self, slot: Slot, chosen: Configuration, was_replica: bool) {
        self.out.announce(slot);
        self.note_replicas(slot);
        // R8: another's now. Until then the state may be the only one of a configuration that this
        // node proposed and does not know the fate of.
        if chosen.replicas.contains(self.me) {
            self.leaving.remove(slot);
        } else if was_replica || self.register(slot).complete {
            self.leaving.insert(slot);
        }
    }

    /// Like [`Ledger::learn`], for what another node says.
    pub(super) fn hear(&mut self, slot: Slot, chosen: Configuration) -> bool {
        if !is_sound(&chosen) {
            self.refusals.add(Refusal::Unsound);
            return false;
        }
        if !self.register(slot).agrees_with(&chosen) {
            self.refusals.add(Refusal::Contradiction);
            return false;
        }
        self.heard(chosen.epoch) && self.learn(slot, chosen)
    }

    /// R2: a whole state of `epoch` is being installed. The write is that of the install.
    pub(super) fn take_in(&mut self, slot: Slot, epoch: Epoch) {
        if let Some(register) = self.registers.get_mut(slot.index()) {
            register.promised = register.promised.max(epoch);
            register.complete = true;
            self.changed.insert(slot);
        }
    }

    /// Says whether the state that goes with a register is whole, and returns its write.
    pub(super) fn set_complete(&mut self, slot: Slot, complete: bool) {
        if let Some(register) = self.registers.get_mut(slot.index()) {
            register.complete = complete;
        }
    }
}
