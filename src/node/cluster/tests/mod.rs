//! A real node and a peer that is let in and does not keep to the protocol.

mod bed;
mod digests;
mod hostile;
