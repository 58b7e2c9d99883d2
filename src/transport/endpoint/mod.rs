//! QUIC endpoints: sockets, and how connections behave on them.

mod client_side;
#[cfg(feature = "server")]
mod server_side;
mod settings;
#[cfg(feature = "server")]
mod silence;
#[cfg(feature = "server")]
mod tcp;

#[cfg(test)]
pub(crate) use client_side::client_endpoint;
#[cfg(feature = "server")]
pub(crate) use client_side::peer_config;
pub(crate) use client_side::{client_config, client_endpoint_from};
#[cfg(feature = "server")]
pub(crate) use server_side::{ServerSetup, bind};
#[cfg(feature = "server")]
pub(crate) use settings::widen_for_peer;
pub(crate) use settings::{STREAMS_MAX, probe};
#[cfg(feature = "server")]
pub(crate) use silence::silent;
#[cfg(feature = "server")]
pub(crate) use tcp::bind_tcp;
