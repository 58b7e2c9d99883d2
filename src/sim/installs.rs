//! States that come, are served, and go: install (T6), serve (T8), drop (R8).

use super::disk::Write;
use super::judge::Fact;
use super::machine::{Held, Serving, node_id, node_of};
use super::mutations::Mutation;
use super::queue::{AfterSync, NodeEvent};
use super::state::SlotState;
use super::world::{MS, World};
use crate::limiter::SlotClock;
use crate::ownership::event::{Event, Installed, Origin, TaskId};
use crate::types::{Configuration, Epoch, Slot, SlotSet};

impl World {
    pub(super) fn install(&mut self, node: usize, task: TaskId, epoch: Epoch, slots: &[Installed]) {
        if self.accident(node, ("crash before write", "install")) {
            return;
        }
        let installs: Vec<_> = slots
            .iter()
            .filter_map(|it| Some((it.slot, it.register, self.new_state(node, epoch, it)?)))
            .collect();
        let lost = |slot: Slot| {
            let mut lost = slots.iter().filter(|it| it.origin == Origin::Lost);
            lost.any(|it| it.slot == slot)
        };
        for (slot, _, state) in &installs {
            let (slot, state) = (*slot, state.clone());
            let all = epoch.node == node_id(node) && !lost(slot);
            self.see(&Fact::Held {
                slot,
                state: &state,
                all,
            });
            if let Some(process) = self.process(node) {
                process.held.insert(slot, Held::resting(state));
            }
        }
        let registers: Vec<_> = installs.iter().map(|it| (it.0, it.1)).collect();
        let after = AfterSync::Report(Event::Installed { task }, registers.clone());
        if self.mutated(Mutation::ConfigurationBeforeInstall) {
            self.machines[node].disk.write(Write::Registers(registers));
            self.sync(node, after);
            let states = installs.into_iter().map(|it| (it.0, it.2)).collect();
            self.plan_node(node, 400 * MS, NodeEvent::LateInstall(states));
            return;
        }
        let early: Vec<Slot> = installs.iter().map(|it| it.0).collect();
        self.machines[node].disk.write(Write::Install(installs));
        if self.accident(node, ("crash before sync", "install")) {
            return;
        }
        self.sync(node, after);
        if self.mutated(Mutation::ServeBeforeChosen) {
            for slot in early {
                self.serve_early(node, slot, epoch);
            }
        }
    }

    /// Mutation: serves what is not chosen yet.
    fn serve_early(&mut self, node: usize, slot: Slot, epoch: Epoch) {
        let register = self.process(node).map(|it| it.ownership.register(slot));
        let base = register.and_then(|it| it.chosen);
        if let Some(base) = base.filter(|_| epoch.node == node_id(node)) {
            let chosen = Configuration {
                version: base.version + 1,
                epoch,
                owner: node_id(node),
                replicas: base.replicas,
            };
            self.serve(node, slot, chosen);
        }
    }

    /// A state that nobody has any more: what it counted is forgotten, which only an operator's word
    /// or the loss of an unsynced state may bring about (of one, where another replica has not caught
    /// up since it became one).
    fn note_loss(&mut self, slot: Slot, base: Option<Configuration>) {
        self.coverage.note(("rule", "install of a lost state"));
        let vouched = self.machines.iter().any(|it| it.removed);
        let replicas = base.map(|it| it.replicas).unwrap_or_default();
        let nodes = replicas.as_slice();
        let mut nodes = nodes.iter().map(|it| node_of(*it));
        let doubtful = nodes.any(|it| self.doubtful.contains(&(it, slot)));
        if !vouched && !doubtful {
            let what = format!("slot {slot} of {replicas:?} is taken for lost");
            self.judge
                .report(self.now, "only what may be lost is taken for lost", what);
        }
        self.see(&Fact::Vouched { slot });
    }

    /// The state that is to be installed, at its new position.
    fn new_state(&mut self, node: usize, epoch: Epoch, it: &Installed) -> Option<SlotState> {
        let slot = it.slot;
        let mono = self.machines[node].clocks.mono(self.now);
        let window_ms = self.options.policies.longest_window_ms();
        if it.origin == Origin::Lost {
            let register = self.process(node)?.ownership.register(slot);
            self.note_loss(slot, register.chosen);
        }
        let process = self.process(node)?;
        let state = match it.origin {
            Origin::Own => process.held.get(&slot).map(|held| held.state.clone()),
            Origin::Fetched => {
                let staged = process.staged.remove(&slot).filter(|staged| staged.whole);
                staged.map(|staged| staged.state)
            }
            Origin::Lost => Some(SlotState {
                quarantined_until: it.clock.plus_ms(window_ms + window_ms / 60 + 1),
                ..SlotState::default()
            }),
        };
        let own_clock = process.own_clock.read(mono);
        self.coverage.note(match it.origin {
            Origin::Own => ("rule", "install of an own state"),
            Origin::Fetched => ("rule", "install from a transfer"),
            Origin::Lost => ("rule", "install of an empty state"),
        });
        let Some(mut state) = state else {
            let what = format!("node {node} is to install slot {slot} and has no state of it");
            self.judge
                .report(self.now, "a state is there before it is installed", what);
            return None;
        };
        state.become_of(epoch, it.n);
        state.clock = it.clock;
        if it.origin == Origin::Fetched && self.mutated(Mutation::NoClockInHandOff) {
            state.clock = own_clock;
        }
        Some(state)
    }

    /// T8: serves from now on.
    pub(super) fn serve(&mut self, node: usize, slot: Slot, chosen: Configuration) {
        let epoch = chosen.epoch;
        let alone = chosen.replicas.majority() == 1;
        let mono = self.machines[node].clocks.mono(self.now);
        let wall_ms = self.machines[node].clocks.wall_ms(self.now);
        let life = self.machines[node].life;
        let Some(process) = self.process(node) else {
            return;
        };
        let held = process.held.get_mut(&slot);
        let Some(held) = held.filter(|held| held.state.at.epoch == epoch) else {
            let what = format!("node {node} is to serve slot {slot} at {epoch} without a state");
            self.judge
                .report(self.now, "served is what is installed", what);
            return;
        };
        if held.serving.is_some_and(|it| it.epoch == epoch) {
            return;
        }
        let became = process.became.remove(&slot).filter(|it| it.0 == epoch);
        let in_sync = became.map_or_else(Vec::new, |it| it.1);
        process.tracker.serve(slot, &chosen, &in_sync);
        held.has_others = !alone;
        held.followed = false;
        held.serving = Some(Serving {
            epoch,
            clock: SlotClock::new(held.state.clock, mono),
            wall_ms,
        });
        let state = held.state.clone();
        self.see(&Fact::Served {
            node,
            life,
            slot,
            epoch,
            alone,
            state: &state,
        });
        self.report(node);
        self.release(node);
    }

    pub(super) fn drop_states(&mut self, node: usize, slots: &SlotSet) {
        self.stop_following(node, slots);
        let mut gone = Vec::new();
        for slot in slots.iter() {
            let held = self.process(node).and_then(|it| it.held.remove(&slot));
            let Some(held) = held else { continue };
            gone.push(slot);
            if held.serving.is_some() {
                self.see(&Fact::Stopped { node, slot });
            }
        }
        if self.mutated(Mutation::TombstoneDeleted) {
            self.machines[node].disk.write(Write::Forget(gone.clone()));
        }
        self.machines[node].disk.write(Write::Drop(gone));
    }
}
