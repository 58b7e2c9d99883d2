//! What can happen to a node's ownership of slots, and what it wants done about it.
//!
//! The edge (`node`, or the simulator) carries out effects in the order given and reports back by
//! events. Durable effects are reported only when they survive a power loss.

use super::message::Message;
use super::record::Register;
use crate::types::{
    Configuration, Epoch, MonoTime, NodeId, Position, Replicas, Slot, SlotRecord, SlotSet, SlotTime,
};

/// Names a write, freeze, or transfer from its effect to the event that reports it done. Never used
/// twice in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(pub(crate) u64);

/// What can happen.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "few at a time, each consumed at once"
)]
pub(crate) enum Event {
    /// The process has started and recovered: run the procedure on its own slots (O5).
    Start,
    /// Time has passed; sent at least every 100 ms, and when [`Effect::WakeAt`] asked for it.
    Tick,
    /// A connection to `peer` works in both directions; messages sent before are gone (R6).
    Connected {
        /// Who.
        peer: NodeId,
    },
    /// The connection to `peer` is lost, and with it all messages on their way.
    Lost {
        /// Who.
        peer: NodeId,
    },
    /// A message arrived; `from` is the node that its connection belongs to.
    Received {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The members or their weights have changed: who should hold each slot now.
    Retargeted {
        /// Of each slot, in order, who should hold it; the first should own it.
        targets: Vec<Replicas>,
        /// Nodes that can be talked to now, this one included.
        reachable: Vec<NodeId>,
    },
    /// [`Effect::Persist`] is synced.
    Persisted {
        /// Which.
        task: TaskId,
    },
    /// [`Effect::Freeze`] is done: nothing is granted in these slots any more, and all that was is
    /// in their state, committed and synced.
    Frozen {
        /// Which.
        task: TaskId,
        /// Of each slot of the effect how far its state is and the highest slot time it has seen.
        slots: Vec<(Slot, Position, SlotTime)>,
    },
    /// [`Effect::Fetch`] has ended.
    Fetched {
        /// Which.
        task: TaskId,
        /// The slots whose state is here, whole and as its digest says. All others failed.
        slots: SlotSet,
    },
    /// [`Effect::Install`] is synced.
    Installed {
        /// Which.
        task: TaskId,
    },
    /// The state of these slots, which another owns, does not follow its owner's commits here: one
    /// was missing, or could not be taken in. Also told when the link from the owner is made anew.
    Behind {
        /// Which slots.
        slots: SlotSet,
    },
    /// [`Effect::CatchUp`] has ended.
    CaughtUp {
        /// Which.
        task: TaskId,
        /// The slots whose state is here, whole. All others failed.
        slots: Vec<Copied>,
    },
    /// [`Effect::Become`] is synced.
    Became {
        /// Which.
        task: TaskId,
        /// The slots whose state was exactly as told. All others are as they were.
        slots: SlotSet,
    },
    /// A replica or learner has all of what this owner has committed of these slots in the reigns in
    /// which they are served here, and follows.
    InSync {
        /// Who.
        peer: NodeId,
        /// Which slots.
        slots: SlotSet,
    },
    /// It does not any more. A lost connection says so for all its slots.
    OutOfSync {
        /// Who.
        peer: NodeId,
        /// Which slots.
        slots: SlotSet,
    },
    /// A replica takes no commits of this owner's reign any more: it has promised these.
    Deaf {
        /// Who.
        peer: NodeId,
        /// Each slot and what was promised.
        slots: Vec<(Slot, Epoch)>,
    },
    /// These nodes were heard of directly since this was said last, in whatever they sent.
    Heard {
        /// Who.
        peers: Vec<NodeId>,
    },
    /// The operator vouches that `gone` is gone for good: slots of which all replicas are, this
    /// node perhaps excepted, start empty, in quarantine, at this node. Only one node is told, and the
    /// same one again if need be.
    Vouched {
        /// Who is gone.
        gone: NodeId,
    },
}

/// Where the state comes from that is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The node's own frozen state.
    Own,
    /// What was fetched.
    Fetched,
    /// Nobody has it any more: empty, and denied for one window.
    Lost,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few at a time, each consumed at once"
)]
pub(crate) enum Effect {
    /// Send a message if there is a connection; else drop it.
    Send {
        /// To whom; never this node itself.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Write these registers and sync; [`Event::Persisted`] follows. Registers of one slot reach the
    /// disk in the order of the effects, those of [`Effect::Install`] included: each holds all that
    /// the ones before it hold, and an older one on top of a newer would take a promise back.
    Persist {
        /// Names it.
        task: TaskId,
        /// The whole register of each slot.
        registers: Vec<(Slot, Register)>,
    },
    /// Stop granting in these slots at once. Then commit and sync what was granted, and report
    /// [`Event::Frozen`]. Checks of these slots wait a while for a new owner. A slot that is not
    /// served is just reported.
    Freeze {
        /// Names it.
        task: TaskId,
        /// Which slots.
        slots: SlotSet,
    },
    /// Copy the state of these slots from `from`, which goes on serving them; what it changes
    /// meanwhile comes with the `Fetch` that has the same slots. [`Event::Fetched`] follows, and is
    /// not the end of it. The copy is kept beside what the node holds of the slots and replaces
    /// nothing: that may be the only state of a configuration whose fate is not known yet.
    PreCopy {
        /// Names it.
        task: TaskId,
        /// Who has them.
        from: NodeId,
        /// Which slots.
        slots: SlotSet,
    },
    /// Fetch the frozen state of these slots, as far as no pre-copy has it, and check it against
    /// the holder's digest; [`Event::Fetched`] follows.
    Fetch {
        /// Names it.
        task: TaskId,
        /// Who has it.
        from: NodeId,
        /// Under which ballot it was sealed.
        ballot: Epoch,
        /// Each slot and the position that its state must have.
        slots: Vec<(Slot, Position)>,
    },
    /// Make these states the node's own, whole, at `(epoch, n)`, replacing what it held of the slot
    /// (R2); write them with their registers, all or nothing, and sync; [`Event::Installed`] follows.
    Install {
        /// Names it.
        task: TaskId,
        /// The new epoch.
        epoch: Epoch,
        /// What to install.
        slots: Vec<Installed>,
    },
    /// R2, for a replica or learner that lacks what the owner has: copy the state of these slots from
    /// `from`, which goes on serving them at these epochs; [`Event::CaughtUp`] follows. The copy is
    /// kept beside what the node holds, until [`Effect::Install`]. What the owner commits meanwhile is
    /// kept too, and taken in at [`Effect::Follow`].
    CatchUp {
        /// Names it.
        task: TaskId,
        /// The owner.
        from: NodeId,
        /// Each slot and the reign it is served in.
        slots: Vec<(Slot, Epoch)>,
    },
    /// R2, for a replica that has exactly what the candidate has: where the state is at the position
    /// told, write and sync that it is now at `(epoch, 0)`; [`Event::Became`] follows. Where commits of
    /// that reign are still on their way here it waits for them, a little.
    Become {
        /// Names it.
        task: TaskId,
        /// The new epoch.
        epoch: Epoch,
        /// Each slot, the position that it must be at, and the highest slot time that counts.
        slots: Vec<(Slot, Position, SlotTime)>,
    },
    /// R1: take in what the owner of these slots commits in these reigns. Their state is installed.
    Follow {
        /// Which slots.
        slots: Vec<(Slot, Epoch)>,
    },
    /// T8: serve these slots from now on, each as chosen, at its epoch, and replicate what is
    /// committed to its replicas. Their state is installed.
    Serve {
        /// Which slots.
        slots: Vec<(Slot, Configuration)>,
    },
    /// R8: these slots are another node's; their state may go. Their registers stay.
    Drop {
        /// Which slots.
        slots: SlotSet,
    },
    /// These configurations are newly known to be chosen: route by them, and tell clients.
    Announce {
        /// Newer than what was announced before for their slots.
        records: Vec<SlotRecord>,
    },
    /// Send [`Event::Tick`] at this time, if none comes before.
    WakeAt(MonoTime),
}

/// One slot's part of [`Effect::Install`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Which slot.
    pub(crate) slot: Slot,
    /// Where its state comes from.
    pub(crate) origin: Origin,
    /// The commits of the epoch that are part of it: none where a candidate installs.
    pub(crate) n: u64,
    /// What the slot clock shows when it is served first: the highest that the state has seen (T5).
    pub(crate) clock: SlotTime,
    /// The register to write with it.
    pub(crate) register: Register,
}

/// One slot's part of [`Event::CaughtUp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Which slot.
    pub(crate) slot: Slot,
    /// [`Origin::Own`] where the node had it all already, else [`Origin::Fetched`].
    pub(crate) origin: Origin,
    /// How far it is.
    pub(crate) at: Position,
    /// The highest slot time that it has seen.
    pub(crate) clock: SlotTime,
}
