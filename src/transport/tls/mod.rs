//! TLS: credentials from files or memory, and the configurations of both ends.
//!
//! [`web`] is for protocols over TCP, with certificates of whatever authority.
//!
//! Built by hand, since `quinn`'s convenience constructors switch 0-RTT on.

mod client_side;
mod credentials;
#[cfg(feature = "server")]
mod server_side;
#[cfg(test)]
mod tests;
#[cfg(feature = "server")]
pub(crate) mod web;

pub(crate) use client_side::client_tls;
pub use credentials::Credentials;
#[cfg(feature = "server")]
pub(crate) use server_side::{Alpn, ClientAuth, Peer, certificate_name, server_tls};
