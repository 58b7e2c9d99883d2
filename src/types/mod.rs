//! Words shared by three or more rooms: parse, format, compare, nothing else.
//!
//! Nothing here decides anything, and nothing here uses another room.

mod decision;
#[cfg_attr(
    not(feature = "server"),
    expect(dead_code, reason = "a client alone needs a key's slot and no more")
)]
mod hash;
mod header_style;
#[cfg(feature = "server")]
mod http;
mod key;
mod node;
#[cfg_attr(
    not(feature = "server"),
    expect(dead_code, reason = "a client alone knows owners and no records")
)]
mod slot;
mod time;

pub use decision::{Decision, Grant, ReservationId, Source};
pub(crate) use hash::KeyHash;
#[cfg(feature = "server")]
pub(crate) use hash::StateId;
pub use header_style::HeaderStyle;
#[cfg(feature = "server")]
pub use http::{BearerToken, KeyFrom, NotAToken};
pub(crate) use key::check_key;
pub use key::{KEY_BYTES_MAX, KeyError};
#[cfg(feature = "server")]
pub(crate) use node::BootCounter;
pub(crate) use node::NodeId;
#[cfg(feature = "server")]
pub(crate) use slot::{
    Configuration, Epoch, Position, REPLICAS_MAX, Replicas, SlotRecord, SlotSet,
};
pub(crate) use slot::{HOLDERS_TOLD, SLOT_COUNT, Slot};
pub use time::{MonoTime, SlotTime};
