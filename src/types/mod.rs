//! Words shared by three or more rooms: parse, format, compare, nothing else.
//!
//! Nothing here decides anything, and nothing here uses another room.

mod decision;
mod key;
mod node;
mod slot;
mod time;

pub use decision::{Decision, Grant, ReservationId, Source};
pub use key::{KEY_BYTES_MAX, KeyError, KeyHash, StateId, check_key};
pub use node::{BootCounter, NodeId};
pub use slot::{Epoch, SLOT_COUNT, Slot};
pub use time::{MonoTime, SlotTime};
