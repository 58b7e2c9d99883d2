//! A node for tests: real QUIC on loopback, counts in memory, certificates made on the spot.

use std::time::Duration;

use crate::client::{Builder, Client};
use crate::limiter::policy::{Policy, PolicySet};
use crate::node::{Node, NodeOptions, StartError};
use crate::transport::certs::Authority;
use crate::transport::tls::Credentials;
use crate::transport::{CertError, Role};

/// A running server; it stops when dropped.
///
/// ```
/// use distributed_rate_limiter::limiter::policy::{Limit, Policy};
/// use distributed_rate_limiter::testing::Server;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::start([("api", Policy::new("2/min".parse::<Limit>()?))])?;
/// let client = server.client().connect().await?;
/// assert!(client.check("api", "user-42").await?.allowed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    node: Node,
    authority: Authority,
    client: Credentials,
}

/// Why a test server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No certificates could be made.
    #[error("cannot make certificates for a test server")]
    Certificates(#[from] CertError),
    /// The node did not start.
    #[error("cannot start a test server")]
    Start(#[from] StartError),
}

impl Server {
    /// Starts a server with these policies on a free port.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start<N: Into<String>>(
        policies: impl IntoIterator<Item = (N, Policy)>,
    ) -> Result<Self, ServerError> {
        let policies = policies
            .into_iter()
            .map(|(name, policy)| (name.into(), policy))
            .collect();
        Self::start_with(
            &PolicySet {
                policies,
                ..PolicySet::default()
            },
            |_| {},
        )
    }

    /// Starts a server with a whole set of policies, and whatever `change` makes of the options.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start_with(
        policies: &PolicySet,
        change: impl FnOnce(&mut NodeOptions),
    ) -> Result<Self, ServerError> {
        let authority = Authority::create("test")?;
        let issue = |role: Role| {
            Credentials::issued(&authority, &authority.issue(role, role.as_str(), &[])?)
        };
        let mut options = NodeOptions::new(issue(Role::Node)?);
        options.workers = 1;
        change(&mut options);
        let node = Node::start(&options, policies)?;
        let client = issue(Role::Client)?;
        Ok(Self {
            node,
            authority,
            client,
        })
    }

    /// A builder of clients that are allowed in and know the address.
    pub fn client(&self) -> Builder {
        Client::builder()
            .seeds([self.node.address().to_string()])
            .tls(self.client.clone())
    }

    /// Credentials of any role that the server believes.
    ///
    /// # Errors
    /// [`CertError`].
    pub fn credentials(&self, role: Role) -> Result<Credentials, CertError> {
        Credentials::issued(
            &self.authority,
            &self.authority.issue(role, role.as_str(), &[])?,
        )
    }

    /// The node.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Stops the server in order: what was asked is answered.
    ///
    /// # Errors
    /// [`crate::WireError::StorageFailed`].
    pub fn stop(self) -> Result<(), crate::WireError> {
        self.node.stop(Duration::from_secs(5))
    }
}
