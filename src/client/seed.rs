//! Where a node may be found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::ConnectError;

/// Longest wait for a name to be resolved: one question to a name server that is not answered.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(5);

/// A node's address, as `host:port` (resolved anew at every attempt) or as a socket address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    text: String,
}

impl From<SocketAddr> for Seed {
    fn from(address: SocketAddr) -> Self {
        Self {
            text: address.to_string(),
        }
    }
}

impl From<&str> for Seed {
    fn from(text: &str) -> Self {
        Self {
            text: text.trim().to_owned(),
        }
    }
}

impl From<String> for Seed {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Seed {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl Seed {
    /// Itself, if it is of the form `host:port`.
    pub(super) fn checked(self) -> Result<Self, ConnectError> {
        match self.parts() {
            Some(_) => Ok(self),
            None => Err(ConnectError::BadSeed { seed: self.text }),
        }
    }

    /// The name that the node's certificate must be for.
    pub(super) fn host(&self) -> Arc<str> {
        self.parts().map_or("", |(host, _)| host).into()
    }

    /// Its addresses now.
    pub(super) async fn resolve(&self) -> Result<impl Iterator<Item = SocketAddr>, ConnectError> {
        let Some(parts) = self.parts() else {
            return Err(ConnectError::BadSeed {
                seed: self.text.clone(),
            });
        };
        let found = tokio::time::timeout(RESOLVE_WAIT_MAX, tokio::net::lookup_host(parts));
        match found.await.unwrap_or_else(|late| Err(late.into())) {
            Ok(addresses) => Ok(addresses.collect::<Vec<_>>().into_iter()),
            Err(source) => Err(ConnectError::Resolve {
                seed: self.text.clone(),
                source,
            }),
        }
    }

    fn parts(&self) -> Option<(&str, u16)> {
        let (host, port) = self.text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port > 0)?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        (!host.is_empty()).then_some((host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_host_and_a_port() {
        let v6: SocketAddr = "[::1]:9".parse().unwrap();
        let cases = [
            (
                Seed::from("limits.example:7400"),
                Some(("limits.example", 7400)),
            ),
            (Seed::from(" 127.0.0.1:1 "), Some(("127.0.0.1", 1))),
            (Seed::from("[::1]:7400"), Some(("::1", 7400))),
            (Seed::from(v6), Some(("::1", 9))),
            (Seed::from("limits.example"), None),
            (Seed::from("::1:7400"), None),
            (Seed::from("[::1:7400"), None),
            (Seed::from(":7400"), None),
            (Seed::from("host:0"), None),
            (Seed::from("host:70000"), None),
            (Seed::from(""), None),
        ];
        for (seed, expected) in cases {
            assert_eq!(seed.parts(), expected, "{seed:?}");
            let checked = seed.clone().checked();
            assert_eq!(checked.is_ok(), expected.is_some(), "{seed:?}");
        }
    }
}
