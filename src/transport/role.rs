//! Roles: what the holder of a certificate may do.
//!
//! The role is the certificate's organisational unit (OU), signed by the cluster's authority.

use std::fmt;

use x509_parser::prelude::{FromDer, X509Certificate};

/// What the holder of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Serve as a node of the cluster; also all that a client may.
    Node,
    /// Ask for decisions, give back, reserve, settle and reset.
    Client,
    /// All of it, and look into the node: the command line.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Node, Self::Client, Self::Admin];

    /// The word in certificates, file names and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }

    /// The role that a certificate names, or `None` if it names none or several.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut units = certificate.subject().iter_organizational_unit();
        let unit = units.next()?.as_str().ok()?;
        if units.next().is_some() {
            return None;
        }
        Self::ALL.into_iter().find(|role| role.as_str() == unit)
    }
}

/// The name in a certificate (its common name), or `None` if it has none or several.
#[cfg(feature = "server")]
pub(crate) fn name_of_certificate(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
