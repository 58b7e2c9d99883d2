//! A REQUEST COMES IN: QUIC connections and streams, bounds, deadlines, coalesced writes.

mod service;

pub(crate) use service::{Answer, Service, Wait};
