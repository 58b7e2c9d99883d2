//! Copies of states between nodes: a pre-copy while the owner serves, which remembers what changes
//! from then on; then the rest of what is sealed, compared by position and digest.

use super::machine::{Kind, Staged, Transfer};
use super::mutations::Mutation;
use super::state::{KEYS_PER_SLOT, SlotState};
use super::wire::{Rest, Wire};
use super::world::World;
use crate::ownership::event::{Event, TaskId};
use crate::types::{Position, Slot, SlotSet};

impl World {
    pub(super) fn ask_for_copy(&mut self, node: usize, from: usize, task: TaskId, slots: &SlotSet) {
        if self.begin_transfer(node, from, task, Kind::PreCopy) {
            let slots = slots.iter().collect();
            self.send(node, from, Wire::CopyAsked { task, slots });
        }
    }

    pub(super) fn ask_for_rest(
        &mut self,
        node: usize,
        from: usize,
        task: TaskId,
        slots: &[(Slot, Position)],
    ) {
        let connection = self.links.open(node, from);
        let Some(process) = self.process(node) else {
            return;
        };
        let copied = |slot: &Slot| {
            let staged = process.staged.get(slot);
            staged.is_some_and(|it| it.from == from && Some(it.connection) == connection)
        };
        let slots = slots
            .iter()
            .map(|(slot, at)| (*slot, *at, copied(slot)))
            .collect();
        if self.begin_transfer(node, from, task, Kind::Rest) {
            self.send(node, from, Wire::RestAsked { task, slots });
        }
    }

    /// Notes a transfer; without a connection it ends at once.
    pub(super) fn begin_transfer(
        &mut self,
        node: usize,
        from: usize,
        task: TaskId,
        kind: Kind,
    ) -> bool {
        let connection = self.links.open(node, from);
        match (connection, self.process(node)) {
            (Some(connection), Some(process)) => {
                let transfer = Transfer {
                    from,
                    connection,
                    kind,
                };
                process.transfers.insert(task, transfer);
                true
            }
            (None, Some(_)) => {
                self.report_soon(node, nothing_came(task, kind));
                false
            }
            (_, None) => false,
        }
    }

    /// Tells the state machine something that it may not hear within a step.
    fn report_soon(&mut self, node: usize, event: Event) {
        use super::queue::{AfterSync, NodeEvent};
        let after = AfterSync::Report(event, Vec::new());
        self.plan_node(node, 1, NodeEvent::Synced { upto: 0, after });
    }

    /// An owner is asked for a copy, and goes on serving.
    pub(super) fn copy_asked(&mut self, node: usize, peer: usize, task: TaskId, slots: &[Slot]) {
        let Some(process) = self.process(node) else {
            return;
        };
        let mut states = Vec::new();
        for slot in slots {
            if let Some(held) = process.held.get(slot) {
                states.push((*slot, held.state.clone()));
                process.copies.insert((peer, *slot), [false; KEYS_PER_SLOT]);
            }
        }
        self.send(node, peer, Wire::Copied { task, states });
    }

    /// A copy arrives.
    pub(super) fn copied(
        &mut self,
        node: usize,
        peer: usize,
        task: TaskId,
        states: Vec<(Slot, SlotState)>,
    ) {
        let Some(process) = self.process(node) else {
            return;
        };
        let known = process.transfers.get(&task);
        let Some(connection) = known
            .filter(|it| it.kind == Kind::PreCopy && it.from == peer)
            .map(|it| it.connection)
        else {
            return;
        };
        process.transfers.remove(&task);
        let slots = states.iter().map(|it| it.0).collect();
        for (slot, state) in states {
            let staged = Staged {
                from: peer,
                connection,
                state,
                whole: false,
            };
            process.staged.insert(slot, staged);
        }
        self.step(node, Event::Fetched { task, slots });
    }

    /// A holder is asked for the rest of slots that it has sealed.
    pub(super) fn rest_asked(
        &mut self,
        node: usize,
        peer: usize,
        task: TaskId,
        slots: &[(Slot, Position, bool)],
    ) {
        let mut rests = Vec::new();
        let ignored = self.mutated(Mutation::OwnerIgnoresItsPromise)
            || self.mutated(Mutation::HighestNumberWins);
        for (slot, at, copied) in slots {
            let Some(process) = self.process(node) else {
                return;
            };
            let changed = process.copies.remove(&(peer, *slot)).filter(|_| *copied);
            let held = process.held.get(slot);
            let frozen = held.filter(|it| ignored || (it.serving.is_none() && it.state.at == *at));
            let Some(held) = frozen else {
                self.coverage.note(("transfer", "rest refused"));
                continue;
            };
            let wanted = changed.unwrap_or([true; KEYS_PER_SLOT]);
            let rest = Rest::of(*slot, &held.state, wanted);
            if changed.is_some() && !rest.keys.is_empty() {
                self.coverage
                    .note(("transfer", "dirty remainder after a pre-copy"));
            }
            rests.push(rest);
        }
        self.send(node, peer, Wire::Rest { task, rests });
    }

    /// The rest arrives: what is whole now, as its digest says, can be installed.
    pub(super) fn rest_came(&mut self, node: usize, peer: usize, task: TaskId, rests: Vec<Rest>) {
        let dropped = self.mutated(Mutation::RemainderDropped);
        let Some(process) = self.process(node) else {
            return;
        };
        let known = process.transfers.get(&task);
        let Some(connection) = known
            .filter(|it| it.kind == Kind::Rest && it.from == peer)
            .map(|it| it.connection)
        else {
            return;
        };
        process.transfers.remove(&task);
        let mut slots = SlotSet::EMPTY;
        for rest in rests {
            let copy = process.staged.remove(&rest.slot);
            let copy = copy.filter(|it| it.from == peer && it.connection == connection);
            let copied = copy.is_some();
            let mut state = copy.map(|it| it.state).unwrap_or_default();
            state.at = rest.at;
            state.quarantined_until = rest.quarantined_until;
            state.fuzzy_below = rest.fuzzy_below;
            if !(dropped && copied) {
                for (n, key) in rest.keys {
                    state.keys[n] = key;
                }
            }
            if state.digest() == rest.digest || dropped {
                slots.insert(rest.slot);
                let staged = Staged {
                    from: peer,
                    connection,
                    state,
                    whole: true,
                };
                process.staged.insert(rest.slot, staged);
            }
        }
        self.step(node, Event::Fetched { task, slots });
    }

    /// A connection is lost, and with it all transfers on it.
    pub(super) fn transfers_are_cut(&mut self, node: usize, peer: usize, connection: u64) {
        let Some(process) = self.process(node) else {
            return;
        };
        let of_it = |it: &Transfer| it.from == peer && it.connection == connection;
        let cut: Vec<(TaskId, Kind)> = process
            .transfers
            .iter()
            .filter(|(_, it)| of_it(it))
            .map(|(task, it)| (*task, it.kind))
            .collect();
        process.transfers.retain(|_, it| !of_it(it));
        process.staged.retain(|_, it| it.whole || it.from != peer);
        for (task, kind) in cut {
            self.coverage.note(("transfer", "cut"));
            self.step(node, nothing_came(task, kind));
        }
    }
}

const fn nothing_came(task: TaskId, kind: Kind) -> Event {
    match kind {
        Kind::PreCopy | Kind::Rest => Event::Fetched {
            task,
            slots: SlotSet::EMPTY,
        },
        Kind::CatchUp => Event::CaughtUp {
            task,
            slots: Vec::new(),
        },
    }
}
