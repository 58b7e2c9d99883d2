//! HOW DO PROGRAMS ASK: the client library.
//!
//! A [`Client`] has a few connections to its seeds and to each node that it asks, each with a few
//! *lanes*: a stream, the callers who wait on it, and what is queued, under one lock (`lane`). A call
//! hashes its key (`aim`), takes a lane to the slot's owner, or to somebody else if there is none
//! (`waiting`), encodes its check, takes a waiting place (`waiters`) and adds the check to the queue
//! (`batch`); the lane's writer sends all that is queued as few frames in one write, and its reader
//! hands out all answers of a read (`stream`, `pending`). No task, channel or allocation per call.
//! What its end means, and whether it is sent again, is decided in one place (`attempt`); a peek that
//! takes long is asked of a second node too (`hedge`, `patience`).
//!
//! One task ends calls at their deadlines (`core`), one a connection makes it again when it is lost
//! (`link`, `dial`, `backoff`), one keeps the routes fresh (`watch`), and one starts connections to
//! nodes that are asked for the first time (`keeper`). What is known of the cluster (`route_cache`),
//! and which node has which place for its connections (`seats`, `place`), come together in `pool`, and
//! calls read from it who holds a slot (`holders`).
//! Denials that are still true are answered without asking (`denial_cache`, `denials`).

mod admin;
mod aim;
mod all;
mod attempt;
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
mod denial_cache;
mod denials;
mod dial;
mod dial_error;
mod error;
mod health;
mod hedge;
mod holders;
mod keeper;
mod lane;
#[cfg(feature = "tower")]
mod layer;
mod link;
mod many;
mod pace;
mod patience;
#[cfg(feature = "server")]
pub(crate) mod peer;
#[cfg(feature = "server")]
pub(crate) mod peer_request;
mod pending;
mod place;
mod pool;
mod quiet;
mod reservation;
mod rest;
mod route_cache;
mod seats;
mod seed;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod waiters;
mod waiting;
mod watch;

pub use crate::limiter::policy::{Limit, LimitError, Limits};
pub use crate::protocol::admin::{
    HandOff, HotKey, HotKeys, Inspected, InspectedLimit, NodeCommand, NodeLoad, Owner, PolicyFile,
    PolicyLine, Ring, RingNode, Status,
};
pub use crate::protocol::replicas::{
    ReplicaLink, ReplicaSet, RingReplicas, SlotConfiguration, SlotEpoch, SlotView,
};
pub use crate::transport::{CertError, Role, tls::Credentials};
pub use admin::Admin;
pub use all::{ALL_MAX, AllDecision};
pub use builder::{
    Builder, CONNECTIONS_DEFAULT, CONNECTIONS_MAX, DENIALS_DEFAULT, DENIALS_MAX,
    WAITING_MAX_DEFAULT,
};
pub use call::{CheckCall, CheckFuture};
pub use check::Check;
pub use client::Client;
#[cfg(feature = "server")]
pub(crate) use dial::Greeting;
pub use error::{CheckError, ConnectError};
#[cfg(feature = "tower")]
pub use layer::{RateLimit, RateLimitFuture, RateLimitLayer};
pub use reservation::{RESERVATION_TTL_DEFAULT, Reservation, ReserveCall, Reserved};
pub use seed::Seed;
pub use settings::{DEADLINE_DEFAULT, Hedging, OnUnavailable, ResendLost, Routing};
