//! What is going to happen, in the order of true time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::state::SlotState;
use super::wire::{Answer, Ask, Asker, CaughtUp, Wire};
use crate::ownership::event::{Event, TaskId};
use crate::ownership::record::Register;
use crate::types::{MonoTime, NodeId, Position, Slot, SlotSet, SlotTime};

/// Something that is going to happen.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large ones are nearly all of them"
)]
pub(super) enum Happening {
    /// To a life of a node.
    Node {
        node: usize,
        life: u64,
        event: NodeEvent,
    },
    /// A machine starts its node.
    Start { node: usize },
    /// A node that stands still goes on.
    Resume { node: usize },
    /// Two nodes try to connect.
    Connect { a: usize, b: usize },
    /// The timeout of a connection on which one side hears nothing.
    Silence { a: usize, b: usize, connection: u64 },
    /// A cut ends.
    Heal { from: usize, to: usize },
    /// A client thinks of something new to ask for.
    Turn { client: usize },
    /// A client gets an answer.
    Answered {
        client: usize,
        request: u64,
        answer: Answer,
    },
    /// A client waits no longer.
    TimedOut { client: usize, request: u64 },
    /// A client learns who owns slots.
    Learned {
        client: usize,
        records: Vec<crate::types::SlotRecord>,
    },
    /// A client is told of a version of the policy set.
    ToldClient { client: usize, version: usize },
    /// Something goes wrong, or an operator does something.
    Fault,
    /// An operator undoes what a fault did to a weight.
    Reweigh { node: usize, weight: u64 },
    /// An operator looks whether all agree, and then tells one node that another is gone for good.
    Vouch { gone: usize },
    /// A node that is being drained is stopped, whatever is left.
    Stop { node: usize },
}

/// Something that is going to happen to a life of a node.
#[derive(Debug)]
pub(super) enum NodeEvent {
    /// Time passes.
    Tick,
    /// The tick that was asked for.
    Wake(MonoTime),
    /// SWIM wants to look again.
    Look(MonoTime),
    /// The commit that is due.
    Commit,
    /// Clocks are stamped and the log is synced, about once a second.
    Upkeep,
    /// A sync has ended.
    Synced { upto: u64, after: AfterSync },
    /// The rest of an install whose end was reported too early.
    LateInstall(Vec<(Slot, SlotState)>),
    /// An answer to a request of an earlier life, which only a mutation delivers.
    Stray { request: u64, answer: Answer },
    /// A connection works.
    Opened { peer: usize, connection: u64 },
    /// A connection is lost.
    Closed { peer: usize, connection: u64 },
    /// A frame arrives.
    Delivered {
        peer: usize,
        connection: u64,
        wire: Wire,
    },
    /// A request arrives, or is tried again.
    Asked {
        asker: Asker,
        request: u64,
        ask: Ask,
        tries: u8,
    },
    /// Who should hold what is worked out anew.
    Retarget,
    /// A node's weight becomes known.
    Weighed { node: usize, weight: u64 },
    /// A version of the policy set becomes known.
    Applied { version: usize },
    /// An operator vouches that a node is gone.
    Vouched { gone: NodeId },
    /// The operator's number of replicas becomes known.
    Wanted { replicas: usize },
    /// The owner's end of a link is made.
    Dial { peer: usize, connection: u64 },
    /// It tells what the clocks show.
    Clocks { peer: usize, link: u64 },
    /// Time passes for the tracker.
    Track,
    /// The ownership hears something from another thread.
    Told(Event),
    /// It is looked for states that wait for commits.
    Become,
    /// The last of a copy for a replica is read.
    CopyEnds {
        peer: usize,
        connection: u64,
        task: TaskId,
        copies: Vec<CaughtUp>,
    },
}

/// What waits for a sync.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few of them wait at a time")]
pub(super) enum AfterSync {
    /// An event for the state machine, and registers that are durable by now.
    Report(Event, Vec<(Slot, Register)>),
    /// Answers to all up to a commit.
    Kept { number: u64 },
    /// A freeze; links learn of it first.
    Frozen {
        task: TaskId,
        slots: Vec<(Slot, Position, SlotTime)>,
        all: SlotSet,
    },
    /// Slots that follow.
    Followed {
        peer: usize,
        link: u64,
        slots: Vec<(Slot, Position)>,
    },
    /// Commits of an owner.
    Through {
        peer: usize,
        link: u64,
        through: u64,
    },
    /// Nobody.
    Nothing,
}

/// See the module. Of two things at one time the one that was planned first happens first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

#[derive(Debug)]
struct Planned {
    at_ns: u64,
    number: u64,
    what: Happening,
}

impl Queue {
    pub(super) fn plan(&mut self, at_ns: u64, what: Happening) {
        self.planned += 1;
        self.heap.push(Planned {
            at_ns,
            number: self.planned,
            what,
        });
    }

    pub(super) fn next(&mut self) -> Option<(u64, Happening)> {
        self.heap.pop().map(|it| (it.at_ns, it.what))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.number).cmp(&(self.at_ns, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_earlier_or_was_planned_first_happens_first() {
        let mut queue = Queue::default();
        for (at_ns, client) in [(5, 0), (3, 1), (5, 2), (4, 3)] {
            queue.plan(at_ns, Happening::Turn { client });
        }
        let mut order = Vec::new();
        while let Some((_, Happening::Turn { client })) = queue.next() {
            order.push(client);
        }
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
