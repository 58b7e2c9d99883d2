//! TLS: credentials from files or memory, and the configurations of both ends.
//!
//! Built by hand, since `quinn`'s convenience constructors switch 0-RTT on.

mod client_side;
mod credentials;
#[cfg(feature = "server")]
mod server_side;
#[cfg(test)]
mod tests;

pub(crate) use client_side::client_tls;
pub use credentials::Credentials;
#[cfg(feature = "server")]
pub(crate) use server_side::{Alpn, ClientAuth, Peer, certificate_name, server_tls};
