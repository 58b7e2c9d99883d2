//! HOW DO PROGRAMS ASK: the client library.
//!
//! A [`Client`] has a few connections, each with a few *lanes*: a stream, the callers who wait on
//! it, and what is queued, under one lock (`lane`). A call encodes its check, takes a waiting place
//! (`waiters`) and adds the check to the queue (`batch`); the lane's writer sends all that is queued
//! as few frames in one write, and its reader hands out all answers of a read (`stream`, `pending`).
//! No task, channel or allocation per call. One task ends calls at their deadlines (`core`), and one
//! a connection makes it again when it is lost (`link`, `dial`, `backoff`).

mod admin;
mod backoff;
mod batch;
mod builder;
mod call;
mod check;
#[expect(
    clippy::module_inception,
    reason = "the client of the room of that name"
)]
mod client;
mod clock;
mod core;
mod dial;
mod dial_error;
mod error;
mod lane;
mod link;
mod many;
mod pace;
#[cfg(feature = "server")]
pub(crate) mod peer;
mod pending;
mod reservation;
mod seed;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod waiters;

pub use crate::limiter::policy::{Limit, LimitError, Limits};
pub use crate::protocol::admin::{Inspected, InspectedLimit, PolicyLine, Status};
pub use crate::transport::{CertError, Role, tls::Credentials};
pub use admin::Admin;
pub use builder::{Builder, CONNECTIONS_DEFAULT, CONNECTIONS_MAX, WAITING_MAX_DEFAULT};
pub use call::{CheckCall, CheckFuture};
pub use check::Check;
pub use client::Client;
#[cfg(feature = "server")]
pub(crate) use dial::Greeting;
pub use error::{CheckError, ConnectError};
pub use reservation::{RESERVATION_TTL_DEFAULT, Reservation, ReserveCall, Reserved};
pub use seed::Seed;
pub use settings::{DEADLINE_DEFAULT, OnUnavailable, ResendLost};
