//! What the ownership wants of this node as a replica, carried out: catching up with an owner,
//! becoming what a candidate has installed, following; and what links have to tell.

use std::time::Duration;

use super::control::{Control, Done};
use super::effects::told;
use super::pull::{Asked, CaughtUp, Pull};
use crate::node::clock;
use crate::node::links::LinkEvent;
use crate::ownership::event::{Copied, Event, Origin, TaskId};
use crate::ownership::message::Message;
use crate::protocol::bulk::BulkRequest;
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Position, Slot, SlotSet, SlotTime};

/// How long a state that lacks commits which are still on their way may wait for them until it is
/// said that it is another.
const COMMITS_WAIT: Duration = Duration::from_millis(300);

/// How long slots that are sealed wait for replicas to acknowledge what was granted last: as long as checks
/// wait for a sealed slot. It is a round trip where a majority answers at all.
const REPLICAS_WAIT: Duration = Duration::from_millis(250);

/// How often it is looked whether they have come.
const COMMITS_LOOK: Duration = Duration::from_millis(5);

/// States on their way to be those of another epoch.
#[derive(Debug)]
pub(super) struct Becoming {
    task: TaskId,
    epoch: Epoch,
    /// Those that are not there yet.
    waiting: Vec<(Slot, Position, SlotTime)>,
    became: SlotSet,
    until: MonoTime,
}

impl Control {
    /// Tells the ownership what the links have to say, and who was heard of.
    pub(super) async fn link(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::InSync { peer, slots } => Event::InSync { peer, slots },
            LinkEvent::OutOfSync { peer, slots } => Event::OutOfSync { peer, slots },
            LinkEvent::Deaf { peer, slots } => Event::Deaf { peer, slots },
            LinkEvent::Behind { slots } => Event::Behind { slots },
        };
        self.ownership(event).await;
    }

    /// Tells the ownership who was heard of since the last tick.
    pub(super) async fn tell_heard(&mut self) {
        let peers = self.links.heard().take();
        if !peers.is_empty() {
            self.ownership(Event::Heard { peers }).await;
        }
    }

    /// Serves slots, and replicates to those whose states became this node's reign already.
    pub(super) fn serve(&mut self, slots: &[(Slot, Configuration)]) {
        let again = slots.iter().map(|(slot, _)| *slot);
        self.seals.end(again, clock::mono_now());
        // Nobody lets this node grant any more, whatever its own registers say.
        if self.shut_out.is_some() {
            return;
        }
        for (slot, chosen) in slots {
            let became = self.became.remove(slot);
            let became = became.filter(|it| it.0 == chosen.epoch);
            let in_sync = became.map_or_else(Vec::new, |it| it.1);
            self.engine.replication.serve(*slot, chosen, &in_sync);
        }
        let slots: Vec<(Slot, Epoch)> = slots.iter().map(|it| (it.0, it.1.epoch)).collect();
        if let Err(error) = self.engine.serve(&slots) {
            tracing::error!(%error, "a slot is not served; please report this");
        }
        self.cluster.forwarder.changed();
    }

    /// Remembers whose states became this node's reign before it is chosen.
    pub(super) fn note_became(&mut self, from: NodeId, message: &Message) {
        let Message::Became { ballot, slots, .. } = message else {
            return;
        };
        if ballot.node != self.engine.about.node {
            return;
        }
        for slot in slots.iter() {
            let known = self.became.entry(slot).or_default();
            if known.0 != *ballot {
                *known = (*ballot, Vec::new());
            }
            if !known.1.contains(&from) {
                known.1.push(from);
            }
        }
    }

    /// What a peer said before its connection was lost does not count for the next one (R6).
    pub(super) fn forget_became(&mut self, peer: NodeId) {
        for known in self.became.values_mut() {
            known.1.retain(|it| *it != peer);
        }
    }

    /// Stops granting in slots, and taking in what others commit of them.
    pub(super) async fn freeze(&mut self, task: TaskId, slots: SlotSet) -> Option<Event> {
        let served = slots.iter().filter(|it| self.engine.table.is_served(*it));
        let served: Vec<Slot> = served.collect();
        self.seals.begin(served.into_iter(), clock::mono_now());
        let frozen = self.engine.freeze(&slots).await;
        // Who waits for what was committed last gets an answer if the replicas take it in soon. If they
        // do not, those grants are lost to who asked for them, and count all the same.
        let settled = self.engine.replication.settled(&slots);
        tokio::time::timeout(REPLICAS_WAIT, settled).await.ok();
        self.engine.replication.stop(&slots);
        self.links.close(&slots);
        self.tell_deaf(&slots);
        self.cluster.forwarder.changed();
        frozen.ok().map(|slots| Event::Frozen { task, slots })
    }

    /// Has the owners of slots know that a higher ballot was promised here.
    fn tell_deaf(&self, slots: &SlotSet) {
        let me = self.engine.about.node;
        for slot in slots.iter() {
            let register = self.ownership.register(slot);
            let owner = register.chosen.filter(|it| it.owner != me);
            if let Some(chosen) = owner.filter(|it| register.promised > it.epoch) {
                self.links.deaf(chosen.owner, &[(slot, register.promised)]);
            }
        }
    }

    /// Copies slots from their owner, which goes on serving them.
    pub(super) fn catch_up(&mut self, task: TaskId, from: NodeId, slots: &[(Slot, Epoch)]) {
        let set: SlotSet = slots.iter().map(|it| it.0).collect();
        // What the owner commits from now on is kept; the copy lacks nothing of what was before.
        self.links.restart(from, &set);
        for slot in set.iter() {
            self.whole.remove(&slot);
        }
        let asked = slots.iter();
        let asked: Asked = asked
            .map(|&(slot, epoch)| (slot, (epoch, self.own_position(slot))))
            .collect();
        let request = BulkRequest::CatchUp {
            slots: asked
                .iter()
                .map(|(slot, (epoch, at))| (slot.number(), (*epoch).into(), at.map(Into::into)))
                .collect(),
        };
        let (bytes, fetcher, done) = (self.bytes_of(task), self.net.fetcher(), self.done.clone());
        let slot_bytes_max = self.slot_bytes_max();
        self.tasks.spawn_local(async move {
            let mut slots = Vec::new();
            let ended = match fetcher.fetch(from, &request).await {
                Ok(reader) => {
                    let pull = Pull::new(reader, bytes, slot_bytes_max);
                    pull.catch_up(&asked, &mut slots).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = &ended {
                let error = told(error);
                tracing::warn!(peer = %from, error, "slots were not caught up with; it is tried again");
            }
            done.send(Done::CaughtUp { task, slots }).await.ok();
        });
    }

    /// How far the state here is, if it counts for anything (R5).
    fn own_position(&self, slot: Slot) -> Option<Position> {
        let whole = self.ownership.register(slot).complete && self.engine.table.holds(slot);
        whole.then(|| self.engine.table.position(slot))
    }

    /// Slots were copied from their owner.
    pub(super) async fn caught_up(&mut self, task: TaskId, slots: Vec<CaughtUp>) {
        self.bytes.remove(&task);
        let mut copied = Vec::with_capacity(slots.len());
        for it in slots {
            let origin = match it.rows {
                Some(rows) => {
                    self.whole.insert(it.slot, rows);
                    Origin::Fetched
                }
                None => Origin::Own,
            };
            copied.push(Copied {
                slot: it.slot,
                origin,
                at: it.at,
                clock: it.clock,
            });
        }
        let slots = copied;
        self.ownership(Event::CaughtUp { task, slots }).await;
    }

    /// Makes states those of another epoch, at once or as soon as the commits that they lack are here.
    pub(super) fn begin_become(
        &mut self,
        task: TaskId,
        epoch: Epoch,
        waiting: Vec<(Slot, Position, SlotTime)>,
    ) -> Option<Event> {
        let until = clock::mono_now().plus(COMMITS_WAIT);
        let mut becoming = Becoming {
            task,
            epoch,
            waiting,
            became: SlotSet::EMPTY,
            until,
        };
        if self.go_on(&mut becoming, clock::mono_now()) {
            return Some(becoming.end());
        }
        self.becoming.push(becoming);
        None
    }

    /// Looks again for states that wait for commits.
    pub(super) async fn go_on_becoming(&mut self) {
        let now = clock::mono_now();
        for mut becoming in std::mem::take(&mut self.becoming) {
            if self.go_on(&mut becoming, now) {
                self.ownership(becoming.end()).await;
            } else {
                self.becoming.push(becoming);
            }
        }
    }

    /// Whether nothing is waited for any more.
    fn go_on(&mut self, becoming: &mut Becoming, now: MonoTime) -> bool {
        let (table, epoch) = (&self.engine.table, becoming.epoch);
        let mut ready = Vec::new();
        becoming.waiting.retain(|&(slot, at, clock)| {
            // R2: the ballot may have been overtaken meanwhile.
            if self.ownership.register(slot).promised > epoch {
                return false;
            }
            let own = table.position(slot);
            if own == at {
                ready.push((slot, at, clock));
                return false;
            }
            let on_their_way = own.epoch == at.epoch && own.n < at.n && table.is_followed(slot);
            on_their_way && now < becoming.until
        });
        // A failure has closed the fence and was logged there; nothing is reported then.
        match self.engine.become_epoch(epoch, &ready) {
            Ok(became) => became.iter().for_each(|slot| becoming.became.insert(slot)),
            Err(_closed) => return false,
        }
        if !becoming.waiting.is_empty() {
            self.wake_at = self.wake_at.min(now.plus(COMMITS_LOOK));
        }
        becoming.waiting.is_empty()
    }
}

impl Becoming {
    fn end(&self) -> Event {
        Event::Became {
            task: self.task,
            slots: self.became.clone(),
        }
    }
}
