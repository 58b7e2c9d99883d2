//! WHAT IS SAID: frames and messages, versions, wire errors; bytes to values and back, no sockets.
//!
//! A frame is a little-endian `u32` length and a `postcard` body. The first frame on a connection
//! is a [`hello::Hello`] on the client's first stream, answered by a [`hello::Welcome`]; after it
//! every stream carries [`client::Request`]s one way and [`client::Response`]s the other, matched
//! by id, in any order. Nodes among each other begin with a [`peer::PeerHello`], which says what the
//! connection is for. Enum variants are only ever appended.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

pub(crate) mod admin;
#[cfg(feature = "server")]
pub(crate) mod batch;
mod bounded;
#[cfg(feature = "server")]
pub(crate) mod bulk;
pub(crate) mod client;
mod decision;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod hello;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "server")]
pub(crate) mod object;
#[cfg(feature = "server")]
pub(crate) mod ownership;
#[cfg(feature = "server")]
pub(crate) mod peer;
pub(crate) mod replicas;
#[cfg(feature = "server")]
pub(crate) mod replicate;
pub(crate) mod routes;
#[cfg(feature = "server")]
mod split;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod peer_golden;
#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod tests;
