//! QUIC endpoints, TLS, certificates and the roles in them.
//!
//! TLS always, version 1.3 only, both ends with a certificate of the cluster's own authority
//! unless the operator chose otherwise. 0-RTT is off on both ends: a replayed check would count
//! twice, and a replayed refund would over-admit.

pub mod certs;
mod close;
pub(crate) mod endpoint;
mod error;
mod files;
mod role;
pub mod tls;

pub(crate) use close::CloseCode;
pub use error::{CertError, TransportError};
pub use role::Role;
