//! A REQUEST COMES IN: QUIC connections and streams, bounds, deadlines, coalesced writes.
//!
//! The way of a read, on a stream of `drl-client/1`:
//!
//! 1. [`stream`] takes everything that has arrived, without waiting for more.
//! 2. [`round`] reads the whole frames in it, turns away what is too late or too much
//!    ([`admission`]), and has the [`Service`] decide all their checks as one batch.
//! 3. Answers that need no sync wait together for the commit and leave in one write.
//! 4. Answers that wait for a sync are parked ([`parked`]) while the stream goes on reading.
//! 5. Requests of which another node decides something, or this one a little later, are deferred
//!    ([`deferred`]) meanwhile, each until all its answers are there.
//!
//! Requests in flight on one stream are answered in any order; so are they decided: in one read,
//! commands come before checks. Who wants an order waits for the answer.
//!
//! One connection's mistakes end that stream or connection and touch no other. [`bounds`] names
//! everything that is bounded, and [`quic`] accepts connections and shuts down.
//!
//! Protocols beside QUIC come in by [`tcp`] and ask at the [`Desk`], which takes the same path: [`http`],
//! with [`grpc`] on the same listener, and [`resp`].

mod admin;
mod admission;
mod bounds;
mod connection;
mod deferred;
mod desk;
mod encode;
mod grpc;
mod hello;
mod http;
mod parked;
mod peer_door;
mod pieces;
mod quic;
mod resp;
mod round;
mod service;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::toy::Toy;

pub(crate) use bounds::Bounds;
#[cfg(test)]
pub(crate) use connection::serve_requests;
pub(crate) use desk::Desk;
pub(crate) use http::{
    CommitFigures, Figures, Http, HttpSettings, Lack, NodeFigures, PolicyFigures, WithoutCounts,
};
pub(crate) use peer_door::{PeerDoor, Stranger, Visit, Visited, Visitor};
pub(crate) use quic::{Server, Stopping};
pub(crate) use resp::Resp;
pub(crate) use service::{
    Answer, Carried, Decided, Kept, Mode, Postponed, Service, Settled, Task, Via, Wait, kept_apart,
};
pub(crate) use tcp::{Protocol, serve as serve_tcp};
