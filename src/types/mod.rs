//! Words shared by three or more rooms: parse, format, compare, nothing else.
//!
//! Nothing here decides anything, and nothing here uses another room.

mod decision;
#[cfg(feature = "server")]
mod hash;
mod key;
#[cfg(feature = "server")]
mod node;
#[cfg(feature = "server")]
mod slot;
mod time;

pub use decision::{Decision, Grant, ReservationId, Source};
#[cfg(feature = "server")]
pub(crate) use hash::{KeyHash, StateId};
pub(crate) use key::check_key;
pub use key::{KEY_BYTES_MAX, KeyError};
#[cfg(feature = "server")]
pub(crate) use node::{BootCounter, NodeId};
#[cfg(feature = "server")]
pub(crate) use slot::{
    Configuration, Epoch, Position, REPLICAS_MAX, Replicas, SLOT_COUNT, Slot, SlotRecord, SlotSet,
};
pub use time::{MonoTime, SlotTime};
