//! Carries out what the ownership wants done, in the order it wants it.
//!
//! Each durable step is synced before it is reported. A step that fails closes the fence, and is
//! never reported: the ownership then waits for ever, which is what a node may do that cannot write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::control::{Control, Done};
use super::pull::Pull;
use crate::node::clock;
use crate::node::peer_wire::ownership_frames;
use crate::node::slots::{Installation, NewState};
use crate::ownership::event::{Effect, Event, Installed, Origin, TaskId};
use crate::ownership::message::Message;
use crate::ownership::record::Register;
use crate::protocol::bulk::BulkRequest;
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet};

impl Control {
    /// Lets the ownership take notice of an event, and does what it wants done, until it wants
    /// nothing more.
    pub(super) async fn ownership(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.ownership.step(clock::mono_now(), event);
            for effect in effects {
                events.extend(self.carry_out(effect).await);
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send { to, message } => {
                self.send_message(to, &message);
                None
            }
            Effect::Persist { task, registers } => self.persist(task, &registers),
            Effect::Freeze { task, slots } => self.freeze(task, slots).await,
            Effect::PreCopy { task, from, slots } => {
                self.pre_copy(task, from, &slots);
                None
            }
            Effect::Fetch {
                task,
                from,
                ballot,
                slots,
            } => {
                self.fetch(task, from, ballot, &slots);
                None
            }
            Effect::Install { task, epoch, slots } => self.install(task, epoch, slots),
            Effect::Serve { slots } => {
                self.serve(&slots);
                None
            }
            Effect::CatchUp { task, from, slots } => {
                self.catch_up(task, from, &slots);
                None
            }
            Effect::Become { task, epoch, slots } => self.begin_become(task, epoch, slots),
            Effect::Follow { slots } => {
                self.links.follow(&slots);
                None
            }
            Effect::Drop { slots } => {
                self.staged.retain(|slot, _| !slots.contains(*slot));
                self.links.close(&slots);
                // A failure has closed the fence and was logged there.
                self.engine.drop_slots(&slots).ok();
                None
            }
            Effect::Announce { records } => {
                let moved = records.iter().map(|record| record.slot);
                self.seals.end(moved, clock::mono_now());
                self.cluster.forwarder.apply(&records);
                self.changed = true;
                None
            }
            Effect::WakeAt(at) => {
                self.wake_at = self.wake_at.min(at);
                None
            }
        }
    }

    fn persist(&self, task: TaskId, registers: &[(Slot, Register)]) -> Option<Event> {
        let encoded: Vec<_> = registers
            .iter()
            .map(|(slot, register)| (*slot, register.encode()))
            .collect();
        let put = self.engine.fence.check().and_then(|()| {
            let put = self.engine.store.put_registers(&encoded);
            put.map_err(|error| self.engine.fence.close(error))
        });
        put.ok().map(|()| Event::Persisted { task })
    }

    fn install(&mut self, task: TaskId, epoch: Epoch, slots: Vec<Installed>) -> Option<Event> {
        let mut installations = Vec::with_capacity(slots.len());
        for it in slots {
            let state = match it.origin {
                Origin::Own => NewState::Own,
                Origin::Lost => NewState::Lost,
                Origin::Fetched => {
                    let Some(rows) = self.whole.remove(&it.slot) else {
                        // Without its rows it would be served as if nothing had been counted.
                        tracing::error!(slot = %it.slot, "the state to install is not here; please report this");
                        return None;
                    };
                    NewState::Rows(rows)
                }
            };
            installations.push(Installation {
                slot: it.slot,
                n: it.n,
                register: it.register.encode(),
                clock: it.clock,
                state,
            });
        }
        match self.engine.install(epoch, installations) {
            Ok(()) => Some(Event::Installed { task }),
            Err(error) => {
                tracing::error!(%error, "slots that came from another node cannot be installed");
                None
            }
        }
    }

    fn pre_copy(&mut self, task: TaskId, from: NodeId, slots: &SlotSet) {
        for slot in slots.iter() {
            self.staged.remove(&slot);
            self.whole.remove(&slot);
        }
        let request = BulkRequest::PreCopy {
            slots: slots.into(),
        };
        let (bytes, fetcher, done) = (self.bytes_of(task), self.net.fetcher(), self.done.clone());
        let (slot_bytes_max, line) = (self.slot_bytes_max(), self.lines.remove(&from));
        self.tasks.spawn_local(async move {
            let staged = match fetcher.fetch_on(line, from, &request).await {
                Ok(reader) => Pull::new(reader, bytes, slot_bytes_max).copy().await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = &staged {
                let error = told(error);
                tracing::warn!(peer = %from, error, "a copy of slots failed; it is tried again");
            }
            done.send(Done::Copied { task, staged }).await.ok();
        });
        self.copying.insert(task, (from, slots.clone()));
    }

    fn fetch(&mut self, task: TaskId, from: NodeId, ballot: Epoch, slots: &[(Slot, Position)]) {
        let set: SlotSet = slots.iter().map(|(slot, _)| *slot).collect();
        let expected: BTreeMap<Slot, Position> = slots.iter().copied().collect();
        // The copy can be gone on with only as a whole; else all is told anew.
        let copied = self.copied_from.remove(&from) == Some(set.clone());
        let mut staged = BTreeMap::new();
        for slot in set.iter() {
            self.whole.remove(&slot);
            if let Some(staging) = self.staged.remove(&slot)
                && copied
            {
                staged.insert(slot, staging);
            }
        }
        let request = BulkRequest::Rest {
            ballot: ballot.into(),
            slots: slots
                .iter()
                .map(|&(slot, at)| (slot.number(), at.into()))
                .collect(),
            copied,
        };
        let (bytes, fetcher, done) = (self.bytes_of(task), self.net.fetcher(), self.done.clone());
        let (slot_bytes_max, line) = (self.slot_bytes_max(), self.lines.remove(&from));
        self.tasks.spawn_local(async move {
            let whole = match fetcher.fetch_on(line, from, &request).await {
                Ok(reader) => {
                    let pull = Pull::new(reader, bytes, slot_bytes_max);
                    pull.rest(staged, &expected).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = &whole {
                let error = told(error);
                tracing::warn!(peer = %from, error, "sealed slots could not be fetched");
            }
            done.send(Done::Fetched { task, from, whole }).await.ok();
        });
    }

    /// Takes in that a transfer has ended.
    pub(super) async fn transferred(&mut self, done: Done) {
        match done {
            Done::Copied { task, staged } => {
                self.bytes.remove(&task);
                let Some((from, copied)) = self.copying.remove(&task) else {
                    return;
                };
                let slots = match staged {
                    Ok((staged, line)) => {
                        self.staged.extend(staged);
                        self.lines.insert(from, line);
                        self.copied_from.insert(from, copied.clone());
                        copied
                    }
                    Err(error) => {
                        self.judge_transfer(from, &error);
                        SlotSet::EMPTY
                    }
                };
                self.ownership(Event::Fetched { task, slots }).await;
            }
            Done::Fetched { task, from, whole } => {
                self.bytes.remove(&task);
                let mut slots = SlotSet::EMPTY;
                match whole {
                    Ok((whole, line)) => {
                        slots = whole.slots.keys().copied().collect();
                        if whole.refused > 0 {
                            self.net.senseless(from, "slots that do not add up");
                        }
                        self.whole.extend(whole.slots);
                        self.lines.insert(from, line);
                    }
                    Err(error) => self.judge_transfer(from, &error),
                }
                self.ownership(Event::Fetched { task, slots }).await;
            }
            Done::CaughtUp { task, slots } => self.caught_up(task, slots).await,
            Done::Told { peer, export } => {
                if let Some(export) = export {
                    self.exports.insert(peer, export);
                }
            }
        }
    }

    fn send_message(&mut self, to: NodeId, message: &Message) {
        for frame in ownership_frames(message) {
            self.net.send(to, &frame);
        }
    }

    pub(super) fn slot_bytes_max(&self) -> usize {
        usize::try_from(self.engine.table.capacity().bytes_max).unwrap_or(usize::MAX)
    }

    pub(super) fn bytes_of(&mut self, task: TaskId) -> Arc<AtomicU64> {
        Arc::clone(self.bytes.entry(task).or_default())
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        told.push_str(": ");
        told.push_str(&next.to_string());
        cause = next.source();
    }
    told
}
