//! Tests of the client that are longer than a page; most of them against a scripted node.

#[cfg(feature = "server")]
mod admin;
mod batch;
#[cfg(feature = "server")]
mod calls;
#[cfg(feature = "server")]
mod connecting;
mod denial_cache;
#[cfg(feature = "server")]
mod losing;
#[cfg(feature = "server")]
mod toy;
mod waiters;
