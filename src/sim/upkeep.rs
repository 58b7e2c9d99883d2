//! The slot clocks while they run, and the stamp of them that is written about once a second.

use std::collections::BTreeMap;

use super::disk::{Stamp, Write};
use super::mutations::Mutation;
use super::queue::{AfterSync, NodeEvent};
use super::world::{MS, World};
use crate::types::{Epoch, Slot, SlotTime};

impl World {
    /// What the clock of a slot shows; nothing if it stands still.
    pub(super) fn reading(&mut self, node: usize, slot: Slot) -> Option<SlotTime> {
        let mono = self.machines[node].clocks.mono(self.now);
        let wall_ms = self.machines[node].clocks.wall_ms(self.now);
        let by_wall = self.mutated(Mutation::WallClock);
        let held = self.process(node)?.held.get(&slot)?;
        let serving = held.serving?;
        if by_wall {
            let gone_ms = wall_ms.saturating_sub(serving.wall_ms);
            return Some(held.state.clock.plus_ms(gone_ms));
        }
        Some(serving.clock.read(mono))
    }

    /// Stamps the clocks and syncs the log.
    pub(super) fn upkeep(&mut self, node: usize) {
        let serving: Vec<(Slot, Epoch)> = self.process(node).map_or_else(Vec::new, |process| {
            let all = process.held.iter();
            all.filter_map(|(&slot, it)| Some((slot, it.serving?.epoch)))
                .collect()
        });
        let mut slots = self.clocks_run_on(node);
        for (slot, epoch) in serving {
            if let Some(reading) = self.reading(node, slot) {
                slots.insert(slot, (epoch, reading));
            }
        }
        let clocks = Some(self.machines[node].clocks.read(self.now));
        let stamp = Write::Stamp(Stamp { clocks, slots });
        self.machines[node].disk.write(stamp);
        self.sync(node, AfterSync::Nothing);
        let next_ns = self.random.between(500, 1000) * MS;
        self.plan_node(node, next_ns, NodeEvent::Upkeep);
    }

    /// Mutation: what the clocks of slots that were served once would show, had they never stood
    /// still; the stamp of an epoch long gone is kept.
    fn clocks_run_on(&self, node: usize) -> BTreeMap<Slot, (Epoch, SlotTime)> {
        let machine = &self.machines[node];
        let stamp = &machine.disk.read().stamp;
        let Some(then) = stamp
            .clocks
            .as_ref()
            .filter(|_| self.mutated(Mutation::ClockOfLowerEpoch))
        else {
            return BTreeMap::new();
        };
        let gone = machine.clocks.mono(self.now).since(then.mono);
        let gone_ms = u64::try_from(gone.as_millis()).unwrap_or(0);
        let all = stamp.slots.iter();
        all.map(|(&slot, &(epoch, at))| (slot, (epoch, at.plus_ms(gone_ms))))
            .collect()
    }
}
