//! What can be wrong with certificates and sockets, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Role;

/// Why certificates cannot be made, stored or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file is not there.
    #[error("{path} does not exist; make it with `ratelimitctl certs {command}`, or name another directory", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The command that makes it.
        command: &'static str,
    },
    /// A file is there already.
    #[error("{path} exists already; remove it first, or ask for it to be replaced", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {path}; check that it belongs to this program's user", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {path}; check the directory's owner and free space", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what its name says.
    #[error("{file} holds no usable {what} ({reason}); make it again with `ratelimitctl certs`")]
    Unusable {
        /// The file, or the certificate's place if it never was in one.
        file: String,
        /// What should be in it.
        what: &'static str,
        /// What is wrong, in a few words.
        reason: String,
    },
    /// A certificate's time is over.
    #[error("{file} has expired; make a new one with `ratelimitctl certs`")]
    Expired {
        /// The file.
        file: String,
    },
    /// A certificate's time has not come.
    #[error("{file} is not valid yet; check this machine's clock")]
    NotYetValid {
        /// The file.
        file: String,
    },
    /// A certificate was signed by another authority than `ca.pem`.
    #[error(
        "{file} was not signed by ca.pem beside it; issue it again with this ca.pem and ca.key"
    )]
    OtherAuthority {
        /// The file.
        file: String,
    },
    /// A certificate and its key do not belong together.
    #[error("{file} does not belong to the private key beside it; restore or reissue both")]
    KeyMismatch {
        /// The certificate's file.
        file: String,
    },
    /// A certificate names another role than is needed.
    #[error(
        "{file} does not have the role `{needed}`; make one with `ratelimitctl certs {needed}`"
    )]
    OtherRole {
        /// The file.
        file: String,
        /// The role that is needed.
        needed: Role,
    },
    /// A host name cannot stand in a certificate.
    #[error("`{name}` cannot be a host name in a certificate; use a DNS name or an IP address")]
    HostName {
        /// The name as given.
        name: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused a configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Why an endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Another process has the address.
    #[error(
        "cannot listen on {address}: another process uses it; stop it or choose another address"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused the socket.
    #[error("cannot open a UDP socket on {address}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Cert(#[from] CertError),
}
