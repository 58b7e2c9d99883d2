//! Tests of the client that are longer than a page; most of them against a scripted node.

#[cfg(feature = "server")]
mod admin;
#[cfg(feature = "server")]
mod all;
mod batch;
#[cfg(feature = "server")]
mod calls;
#[cfg(feature = "server")]
mod connecting;
mod denial_cache;
#[cfg(feature = "server")]
mod denying;
#[cfg(feature = "server")]
mod hedging;
#[cfg(feature = "server")]
mod losing;
#[cfg(feature = "server")]
mod restarting;
#[cfg(feature = "server")]
mod resting;
#[cfg(feature = "server")]
mod routing;
#[cfg(feature = "server")]
mod silent;
#[cfg(feature = "server")]
mod toy;
#[cfg(feature = "server")]
mod trio;
mod waiters;
