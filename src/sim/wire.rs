//! What nodes and clients of a run say to each other.

use super::judge::GrantId;
use super::state::{Digest, KEYS_PER_SLOT, Key, SlotState};
use crate::limiter::KeyState;
use crate::ownership::event::TaskId;
use crate::ownership::message::Message;
use crate::types::{Configuration, Grant, Position, Slot, SlotTime};

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
}

/// What is missing of a slot's state.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) slot: Slot,
    pub(super) at: Position,
    pub(super) quarantined_until: SlotTime,
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
