//! Which nodes are asked, and with whose certificate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use distributed_rate_limiter::client::{self, Admin, Client};
use distributed_rate_limiter::transport::tls::Credentials;
use distributed_rate_limiter::transport::{CertError, Role};
use tokio::runtime::Builder;

use crate::outcome::Failure;

/// Where `ratelimitd` listens unless it is told otherwise.
const ENDPOINT_DEFAULT: &str = "127.0.0.1:7400";

/// How long one command waits for its answer.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Turns that tasks get to end in: a connection needs two or three.
const GOODBYE_TURNS: usize = 16;

/// How nodes are reached; every command takes these flags.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Nodes {
    /// Nodes to ask, as host:port; the first that answers is used
    #[arg(
        long,
        global = true,
        env = "RATELIMIT_ENDPOINT",
        hide_env_values = true,
        value_name = "ADDR,…",
        value_delimiter = ',',
        default_value = ENDPOINT_DEFAULT
    )]
    endpoint: Vec<String>,
    /// Directory with ca.pem, and admin.pem or client.pem with their keys
    #[arg(
        long,
        global = true,
        env = "RATELIMIT_CERTS",
        hide_env_values = true,
        value_name = "DIR"
    )]
    certs: Option<PathBuf>,
}

impl Nodes {
    /// Describes a client with one connection to each node.
    pub(crate) fn builder(&self, deadline: Duration) -> Result<client::Builder, Failure> {
        let builder = Client::builder()
            .seeds(&self.endpoint)
            .tls(self.client_credentials()?)
            .deadline(deadline)
            .connections(1);
        Ok(builder)
    }

    /// A client with one connection to each node.
    pub(crate) async fn client(&self, deadline: Duration) -> Result<Client, Failure> {
        Ok(self.builder(deadline)?.connect().await?)
    }

    /// An admin's connection.
    pub(crate) async fn admin(&self) -> Result<Admin, Failure> {
        let credentials = Credentials::load(self.certs_dir()?, Role::Admin);
        let builder = Client::builder()
            .seeds(&self.endpoint)
            .tls(credentials.map_err(Failure::usage)?)
            .deadline(ANSWER_WAIT);
        Ok(builder.connect_admin().await?)
    }

    /// An admin's connection to the node at `address`.
    pub(crate) async fn admin_at(&self, address: &str, wait: Duration) -> Result<Admin, Failure> {
        let credentials = Credentials::load(self.certs_dir()?, Role::Admin);
        let builder = Client::builder()
            .seeds([address])
            .tls(credentials.map_err(Failure::usage)?)
            .deadline(wait);
        Ok(builder.connect_admin().await?)
    }

    /// The addresses that the command line names.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoint
    }

    /// A client's certificate, or an admin's, who may do the same.
    fn client_credentials(&self) -> Result<Credentials, Failure> {
        let dir = self.certs_dir()?;
        let own = match Credentials::load(dir, Role::Client) {
            Err(missing @ CertError::Missing { .. }) => {
                // Of two that are missing the client's is the one to make.
                Credentials::load(dir, Role::Admin).map_err(|error| match error {
                    CertError::Missing { .. } => missing,
                    other => other,
                })
            }
            other => other,
        };
        own.map_err(Failure::usage)
    }

    fn certs_dir(&self) -> Result<&Path, Failure> {
        self.certs.as_deref().ok_or_else(|| {
            Failure::usage(anyhow::anyhow!("no directory of certificates is named")).hint(
                "give --certs DIR or set RATELIMIT_CERTS; `ratelimitd dev` prints what to set",
            )
        })
    }
}

/// Runs `asking` to its end on a runtime of its own.
pub(crate) fn wait_for<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::internal)?.block_on(async {
        let answer = asking.await;
        say_goodbye().await;
        answer
    })
}

/// Lets the tasks of connections that were dropped tell their nodes so; else a node would keep
/// them until they have been silent for long.
pub(crate) async fn say_goodbye() {
    for _ in 0..GOODBYE_TURNS {
        tokio::task::yield_now().await;
    }
}
