//! What nodes and clients of a run say to each other.

use super::copies::Asked;
use super::judge::GrantId;
use super::state::{Digest, KEYS_PER_SLOT, Key, SlotState};
use crate::limiter::KeyState;
use crate::ownership::event::TaskId;
use crate::ownership::message::Message;
use crate::types::{Configuration, Epoch, Grant, Position, Slot, SlotSet, SlotTime};

/// Names a part of a commit among those of the whole run.
pub(super) type GroupId = usize;

/// What a node says to another on their connection.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "few of them are on their way at a time"
)]
pub(super) enum Wire {
    /// About slots.
    Ownership(Message),
    /// About who is there.
    Datagram(Vec<u8>),
    /// A check or refund that is passed on to the owner; the number is of the sender's life.
    Ask { request: u64, ask: Ask },
    /// The answer to it.
    Answer { request: u64, answer: Answer },
    /// Pre-copy these slots, and remember what changes from now on.
    CopyAsked { task: TaskId, slots: Vec<Slot> },
    /// As they are now.
    Copied {
        task: TaskId,
        states: Vec<(Slot, SlotState)>,
    },
    /// The rest of these slots, which are sealed; `true` where a pre-copy is there.
    RestAsked {
        task: TaskId,
        slots: Vec<(Slot, Position, bool)>,
    },
    /// The rest of those that are as far as was asked for.
    Rest { task: TaskId, rests: Vec<Rest> },
    /// A replica asks for copies of slots that go on being served.
    CatchUpAsked { task: TaskId, slots: Asked },
    /// Those that are served.
    CaughtUp { task: TaskId, slots: Vec<CaughtUp> },
    /// From an owner, on its link to a replica.
    FromOwner { link: u64, said: OwnerSaid },
    /// From a replica, on the link from an owner.
    FromReplica { link: u64, said: ReplicaSaid },
}

impl Wire {
    /// What comes in order, and among what: messages, links and bulk are streams of their own.
    pub(super) const fn stream(&self) -> usize {
        match self {
            Self::FromOwner { .. } | Self::FromReplica { .. } => 1,
            Self::CatchUpAsked { .. } | Self::CaughtUp { .. } => 2,
            _ => 0,
        }
    }
}

/// What an owner says to a replica.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few at a time")]
pub(super) enum OwnerSaid {
    /// The link begins.
    Begin,
    /// It ends.
    End,
    /// Some slots' parts of a commit.
    Commit { number: u64, groups: Vec<GroupId> },
    /// Sync what has come up to this commit.
    Sync { through: u64 },
    /// What the clocks show.
    Clocks(Vec<(Slot, Epoch, SlotTime)>),
    /// These slots lack something.
    Behind(SlotSet),
}

/// What a replica says to an owner.
#[derive(Debug, Clone)]
pub(super) enum ReplicaSaid {
    /// All up to this commit is taken in, but what is of these slots.
    Applied { through: u64, refused: SlotSet },
    /// What was taken in up to this commit is synced.
    Synced { through: u64 },
    /// These slots follow from these positions on.
    InSync(Vec<(Slot, Position)>),
    /// These do not any more.
    OutOfSync(SlotSet),
    /// These were promised to higher ballots.
    Deaf(Vec<(Slot, Epoch)>),
}

/// A copy for a replica.
#[derive(Debug, Clone)]
pub(super) struct CaughtUp {
    pub(super) slot: Slot,
    pub(super) at: Position,
    pub(super) clock: SlotTime,
    /// None if the replica has all of it.
    pub(super) state: Option<SlotState>,
}

/// What is missing of a slot's state.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) slot: Slot,
    pub(super) at: Position,
    pub(super) quarantined_until: SlotTime,
    pub(super) fuzzy_below: Option<u64>,
    /// The keys that changed since the pre-copy; all of them if there was none.
    pub(super) keys: Vec<(usize, KeyState)>,
    /// Of the whole state.
    pub(super) digest: Digest,
}

impl Rest {
    /// The keys of `state` that `wanted` names.
    pub(super) fn of(slot: Slot, state: &SlotState, wanted: [bool; KEYS_PER_SLOT]) -> Self {
        let keys = state.keys.iter().enumerate();
        let keys = keys.filter(|(n, _)| wanted[*n]);
        Self {
            slot,
            at: state.at,
            quarantined_until: state.quarantined_until,
            fuzzy_below: state.fuzzy_below,
            keys: keys.map(|(n, key)| (n, key.clone())).collect(),
            digest: state.digest(),
        }
    }
}

/// A check or a refund.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) what: What,
    /// How often it was passed on.
    pub(super) hops: u8,
    /// Whether a node that is not the owner passes it on; else it tells who is.
    pub(super) proxied: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// So many permits.
    Check { cost: u64 },
    /// To take a grant back.
    Refund { grant: Grant },
}

/// Who is waiting for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client.
    Client(usize),
    /// A node, on one connection.
    Peer { node: usize, connection: u64 },
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// It may pass.
    Granted { id: GrantId, grant: Grant },
    /// It may not, for so long and under this version of the policies.
    Denied { retry_ms: u64, version: usize },
    /// Another node decides.
    NotOwner { slot: Slot, record: Configuration },
    /// Nobody who decides can be asked now.
    Unavailable,
    /// The slot is on its way to somebody else.
    Overloaded,
}
