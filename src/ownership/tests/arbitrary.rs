//! One node among nodes that say anything at all, in any order, with a disk that is as slow as it
//! likes: it never panics, takes nothing back, and says nothing that is not synced.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::event::{Copied, Effect, Event, Origin, TaskId};
use super::super::message::Message;
use super::super::record::Register;
use super::super::{Ownership, Settings, Standing};
use super::sayings::{SLOTS, any_epoch, any_slot, any_slots, message};
use super::world::{node, slot};
use crate::types::{
    Epoch, MonoTime, NodeId, Position, Replicas, SLOT_COUNT, Slot, SlotSet, SlotTime,
};

const ME: NodeId = NodeId(1);

/// What the node has been told to do, and has not reported.
#[derive(Debug, Clone)]
enum Open {
    Persist(TaskId, Vec<(Slot, Register)>),
    Install(TaskId, Vec<(Slot, Register)>),
    Freeze(TaskId, SlotSet),
    Fetch(TaskId, SlotSet),
    CatchUp(TaskId, Vec<(Slot, Epoch)>),
    Become(TaskId, Epoch, SlotSet),
}

/// The edge of the node, as far as promises go.
struct Edge {
    life: Ownership,
    now: MonoTime,
    stored: BTreeMap<Slot, Register>,
    serving: BTreeMap<Slot, Epoch>,
    open: Vec<Open>,
}

#[derive(Debug, Clone)]
enum Happening {
    Said(u128, Box<Message>),
    /// The oldest open write, or a fetch or freeze, is done.
    Done(usize, u64),
    Wait(u64),
    Connected(u128),
    Lost(u128),
    Targets(u128),
    ManyTargets(Vec<u128>),
    Behind(SlotSet),
    InSync(u128, SlotSet),
    OutOfSync(u128, SlotSet),
    Deaf(u128, Slot, Epoch),
    Heard(u128),
    Vouched(u128),
    Crash,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => (1u128..=3, message()).prop_map(|(from, it)| Happening::Said(from, Box::new(it))),
        16 => (any::<usize>(), any::<u64>()).prop_map(|(which, how)| Happening::Done(which, how)),
        4 => (0u64..30).prop_map(Happening::Wait),
        2 => (1u128..=3).prop_map(Happening::Connected),
        1 => (1u128..=3).prop_map(Happening::Lost),
        1 => (1u128..=3).prop_map(Happening::Targets),
        1 => prop::collection::vec(1u128..=3, 2..4).prop_map(Happening::ManyTargets),
        1 => any_slots().prop_map(Happening::Behind),
        2 => (1u128..=3, any_slots()).prop_map(|(n, it)| Happening::InSync(n, it)),
        1 => (1u128..=3, any_slots()).prop_map(|(n, it)| Happening::OutOfSync(n, it)),
        1 => (1u128..=3, any_slot(), any_epoch()).prop_map(|(n, slot, it)| Happening::Deaf(n, slot, it)),
        1 => (1u128..=3).prop_map(Happening::Heard),
        1 => (1u128..=3).prop_map(Happening::Vouched),
        1 => Just(Happening::Crash),
    ]
}

impl Edge {
    fn new() -> Self {
        let register = Register::of_creator(ME);
        let stored = (0..SLOTS).map(|n| (slot(n), register)).collect();
        let mut edge = Self {
            life: Ownership::new(ME, Vec::new(), Settings::default(), 1),
            now: MonoTime::from_ns(1),
            stored,
            serving: BTreeMap::new(),
            open: Vec::new(),
        };
        edge.crash();
        edge
    }

    fn crash(&mut self) {
        let stored = |it: Slot| self.stored.get(&it).copied();
        let registers = Slot::all().map(stored).collect();
        self.life = Ownership::new(ME, registers, Settings::default(), 1);
        self.serving.clear();
        self.open.clear();
        self.step(Event::Start);
    }

    fn step(&mut self, event: Event) {
        let before: Vec<Register> = (0..SLOTS).map(|n| self.life.register(slot(n))).collect();
        let effects = self.life.step(self.now, event);
        for (n, before) in (0..SLOTS).zip(before) {
            let after = self.life.register(slot(n));
            assert!(
                after.promised >= before.promised,
                "I4: a promise is taken back"
            );
            assert!(
                after.version() >= before.version(),
                "I4: what was chosen is forgotten"
            );
        }
        let order = |it: &Effect| match it {
            Effect::Freeze { .. } => 0,
            Effect::Persist { .. } | Effect::Install { .. } => 1,
            Effect::Send { .. } => 3,
            Effect::PreCopy { .. }
            | Effect::Fetch { .. }
            | Effect::CatchUp { .. }
            | Effect::Become { .. }
            | Effect::Follow { .. }
            | Effect::Serve { .. }
            | Effect::Drop { .. }
            | Effect::Announce { .. }
            | Effect::WakeAt(_) => 2,
        };
        let orders: Vec<i32> = effects
            .iter()
            .filter(|it| !matches!(it, Effect::WakeAt(_)))
            .map(order)
            .collect();
        assert!(
            orders.is_sorted(),
            "freeze, then write, then speak: {effects:?}"
        );
        for it in effects {
            self.carry_out(it);
        }
        for n in 0..SLOTS {
            let serving = self.serving.get(&slot(n)).copied();
            let standing = self.life.standing(slot(n));
            let stands = match standing {
                Standing::Serving { epoch } => Some(epoch),
                Standing::Sealed | Standing::Elsewhere { .. } | Standing::Unknown => None,
            };
            assert_eq!(serving, stands, "O1, O4: what it serves is what it says");
            if let Some(epoch) = serving {
                let register = self.life.register(slot(n));
                assert!(register.promised <= epoch, "O4");
                assert_eq!(register.chosen.unwrap().epoch, epoch, "T8");
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                assert_ne!(to, ME);
                self.check_said(&message);
            }
            Effect::Persist { task, registers } => self.open.push(Open::Persist(task, registers)),
            Effect::Install { task, slots, epoch } => {
                let caught_up = epoch.node != ME;
                for it in slots.iter().filter(|_| caught_up) {
                    assert_eq!(it.register.promised, epoch, "R2");
                    assert_eq!(it.register.chosen.unwrap().epoch, epoch, "R2");
                }
                let registers = slots.iter().map(|it| (it.slot, it.register)).collect();
                self.open.push(Open::Install(task, registers));
            }
            Effect::Freeze { task, slots } => {
                self.serving.retain(|slot, _| !slots.contains(*slot));
                self.open.push(Open::Freeze(task, slots));
            }
            Effect::PreCopy { task, slots, .. } => self.open.push(Open::Fetch(task, slots)),
            Effect::Fetch { task, slots, .. } => {
                let slots = slots.into_iter().map(|it| it.0).collect();
                self.open.push(Open::Fetch(task, slots));
            }
            Effect::Serve { slots } => {
                let slots = slots.into_iter().map(|(slot, chosen)| (slot, chosen.epoch));
                self.serving.extend(slots);
            }
            Effect::CatchUp { task, slots, .. } => self.open.push(Open::CatchUp(task, slots)),
            Effect::Become { task, epoch, slots } => {
                let slots = slots.into_iter().map(|it| it.0).collect();
                self.open.push(Open::Become(task, epoch, slots));
            }
            Effect::Follow { slots } => {
                for (slot, epoch) in slots {
                    assert!(!self.serving.contains_key(&slot));
                    assert!(self.life.register(slot).promised <= epoch, "R1");
                    let stored = self.stored[&slot];
                    assert!(stored.complete && stored.promised >= epoch, "R2: synced");
                }
            }
            Effect::Drop { slots } => {
                for slot in slots.iter() {
                    let chosen = self.stored[&slot].chosen.unwrap();
                    assert!(!chosen.replicas.contains(ME), "R8: its tombstone is synced");
                    assert!(!self.serving.contains_key(&slot));
                }
            }
            Effect::Announce { .. } | Effect::WakeAt(_) => {}
        }
    }

    /// R3, R4: what a message rests on is synced, and granting has stopped.
    fn check_said(&self, message: &Message) {
        let stored = |slot: &Slot| self.stored.get(slot).copied().unwrap_or_default();
        match message {
            Message::Seal { ballot, slots } => {
                assert!(slots.iter().all(|it| stored(&it).promised >= *ballot), "T1");
            }
            Message::Sealed { ballot, slots, .. } => {
                for it in slots {
                    assert!(stored(&it.slot).promised >= *ballot, "R3");
                    assert!(!self.serving.contains_key(&it.slot), "R3, O4");
                }
            }
            Message::Accepted { ballot, slots, .. } => {
                assert!(slots.iter().all(|it| stored(&it).promised >= *ballot), "R4");
            }
            Message::Accept { ballot, slots } => {
                for it in slots.iter().filter(|it| it.proposed.epoch == *ballot) {
                    assert!(stored(&it.slot).complete, "T7: installed before");
                }
            }
            Message::Became { ballot, slots, .. } => {
                assert!(slots.iter().all(|it| stored(&it).promised >= *ballot), "R2");
            }
            Message::Become { slots, .. } => {
                assert!(
                    slots.iter().all(|it| stored(&it.slot).complete),
                    "T6: installed before"
                );
            }
            Message::Digest { .. }
            | Message::Chosen { .. }
            | Message::AskHeard { .. }
            | Message::Heard { .. } => {}
        }
    }

    /// Reports something that is open: writes in order, everything else as it comes.
    fn done(&mut self, which: usize, how: u64) {
        if self.open.is_empty() {
            return;
        }
        let mut place = which % self.open.len();
        let is_write =
            |it: &Open| matches!(it, Open::Persist(..) | Open::Install(..) | Open::Become(..));
        if is_write(&self.open[place]) {
            place = self.open.iter().position(is_write).unwrap();
        }
        let event = match self.open.remove(place) {
            Open::Persist(task, registers) => {
                self.stored.extend(registers);
                Event::Persisted { task }
            }
            Open::Install(task, registers) => {
                self.stored.extend(registers);
                Event::Installed { task }
            }
            Open::Become(task, epoch, slots) => {
                assert!(
                    slots.iter().all(|it| self.stored[&it].promised >= epoch),
                    "R2"
                );
                let slots = slots.iter().filter(|it| how >> it.number() & 1 == 0);
                let slots = slots.collect();
                Event::Became { task, slots }
            }
            Open::CatchUp(task, slots) => {
                let here = slots.iter().filter(|it| how >> it.0.number() & 1 == 0);
                let copied = here.map(|&(slot, epoch)| Copied {
                    slot,
                    origin: Origin::Fetched,
                    at: Position { epoch, n: how % 5 },
                    clock: SlotTime::ZERO,
                });
                let slots = copied.collect();
                Event::CaughtUp { task, slots }
            }
            Open::Freeze(task, slots) => {
                let at = |slot: Slot| Position {
                    epoch: self.stored.get(&slot).map_or(Epoch::ZERO, |it| {
                        it.chosen.map_or(Epoch::ZERO, |it| it.epoch)
                    }),
                    n: how % 7,
                };
                let slots = slots
                    .iter()
                    .map(|it| (it, at(it), SlotTime::from_ms(how % 99)));
                let slots = slots.collect();
                Event::Frozen { task, slots }
            }
            Open::Fetch(task, slots) => {
                let here = slots.iter().filter(|it| how >> it.number() & 1 == 0);
                let slots = here.collect();
                Event::Fetched { task, slots }
            }
        };
        self.step(event);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Said(from, message) => self.step(Event::Received {
                from: node(from),
                message: *message,
            }),
            Happening::Done(which, how) => self.done(which, how),
            Happening::Wait(ticks) => {
                self.now = self.now.plus(Duration::from_millis(100 * ticks));
                self.step(Event::Tick);
            }
            Happening::Connected(n) => self.step(Event::Connected { peer: node(n) }),
            Happening::Lost(n) => self.step(Event::Lost { peer: node(n) }),
            Happening::Targets(n) => self.step(Event::Retargeted {
                targets: vec![Replicas::one(node(n)); usize::from(SLOT_COUNT)],
                reachable: (1..=3).map(node).collect(),
            }),
            Happening::ManyTargets(nodes) => {
                let nodes: Vec<NodeId> = nodes.into_iter().map(node).collect();
                self.step(Event::Retargeted {
                    targets: vec![Replicas::of(&nodes); usize::from(SLOT_COUNT)],
                    reachable: (1..=3).map(node).collect(),
                });
            }
            Happening::Behind(slots) => self.step(Event::Behind { slots }),
            Happening::InSync(n, slots) => self.step(Event::InSync {
                peer: node(n),
                slots,
            }),
            Happening::OutOfSync(n, slots) => {
                self.step(Event::OutOfSync {
                    peer: node(n),
                    slots,
                });
            }
            Happening::Deaf(n, slot, promised) => self.step(Event::Deaf {
                peer: node(n),
                slots: vec![(slot, promised)],
            }),
            Happening::Heard(n) => self.step(Event::Heard {
                peers: vec![node(n)],
            }),
            Happening::Vouched(n) => self.step(Event::Vouched { gone: node(n) }),
            Happening::Crash => self.crash(),
        }
    }
}

/// Answers that fit what the node asks: ballots of its own are guessed from its registers.
fn fitted(life: &Ownership, message: Message) -> Message {
    let ballot = (0..SLOTS).map(|n| life.register(slot(n)).promised);
    let own = ballot.filter(|it| it.node == ME).max();
    match (own, message) {
        (Some(ballot), Message::Sealed { slots, refused, .. }) => Message::Sealed {
            ballot,
            slots,
            refused,
        },
        (Some(ballot), Message::Accepted { slots, refused, .. }) => Message::Accepted {
            ballot,
            slots,
            refused,
        },
        (Some(ballot), Message::Became { slots, refused, .. }) => Message::Became {
            ballot,
            slots,
            refused,
        },
        (_, other) => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_said_nothing_is_taken_back_or_said_too_early(
        happenings in prop::collection::vec(happening(), 0..200),
    ) {
        let mut edge = Edge::new();
        for it in happenings {
            if let Happening::Said(from, message) = it {
                let message = Box::new(fitted(&edge.life, *message));
                edge.happen(Happening::Said(from, message));
            } else {
                edge.happen(it);
            }
        }
    }
}
