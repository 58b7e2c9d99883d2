//! Describes a client and connects it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::admin::Admin;
use super::client::Client;
use super::core::Core;
use super::dial::{Dialer, Greeting};
use super::error::ConnectError;
use super::link::Link;
use super::seed::Seed;
use super::settings::{OnUnavailable, ResendLost, Settings};
use crate::protocol::hello::{ALPN_ADMIN, ALPN_CLIENT};
use crate::transport::endpoint::{STREAMS_MAX, client_config};
use crate::transport::tls::Credentials;

/// Most connections of one client.
pub const CONNECTIONS_MAX: usize = 1024;

/// Default number of connections: two, so that one goes on when the other is lost, and a node can
/// serve them on two cores.
pub const CONNECTIONS_DEFAULT: usize = 2;

/// Default of [`Builder::waiting_max`]: far above what a node needs to be busy, and a few megabytes
/// at most.
pub const WAITING_MAX_DEFAULT: usize = 16_384;

/// Describes a [`Client`]; see [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it connects"]
pub struct Builder {
    seeds: Vec<Seed>,
    tls: Option<Credentials>,
    settings: Settings,
    connections: usize,
    streams: usize,
    waiting_max: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            seeds: Vec::new(),
            tls: None,
            settings: Settings::default(),
            connections: CONNECTIONS_DEFAULT,
            streams: 1,
            waiting_max: WAITING_MAX_DEFAULT,
        }
    }
}

impl Builder {
    /// Nodes to ask: `host:port` strings, resolved anew at every attempt, or socket addresses. The
    /// first that answers is used; when it is lost, the first that answers then.
    pub fn seeds<S: Into<Seed>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds = seeds.into_iter().map(Into::into).collect();
        self
    }

    /// The authority to trust, and the certificate to show.
    pub fn tls(mut self, credentials: Credentials) -> Self {
        self.tls = Some(credentials);
        self
    }

    /// By when each call ends;
    /// [`DEADLINE_DEFAULT`](super::DEADLINE_DEFAULT) unless told. Kept to a few milliseconds.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// What calls are answered when nobody who knows the counts can be asked; the error unless told.
    pub const fn on_unavailable(mut self, on_unavailable: OnUnavailable) -> Self {
        self.settings.on_unavailable = on_unavailable;
        self
    }

    /// Whether checks that were on their way when a connection was lost are sent again; once unless
    /// told.
    pub const fn resend_lost(mut self, resend_lost: ResendLost) -> Self {
        self.settings.resend_lost = resend_lost;
        self
    }

    /// Connections to keep, 1 to [`CONNECTIONS_MAX`]; [`CONNECTIONS_DEFAULT`] unless told.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// Streams on each connection, 1 to 16; 1 unless told. More help only where packets are lost:
    /// then the other streams go on.
    pub fn streams(mut self, streams: usize) -> Self {
        let max = usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        self.streams = streams.clamp(1, max);
        self
    }

    /// Most calls that wait for an answer at once on each stream, at least 1; the next is turned
    /// away with [`Overloaded`](super::CheckError::Overloaded).
    /// [`WAITING_MAX_DEFAULT`] unless told.
    pub fn waiting_max(mut self, calls: usize) -> Self {
        self.waiting_max = calls.max(1);
        self
    }

    /// Connects to the first seed that answers. The other connections follow in the background.
    ///
    /// Must be called inside a tokio runtime with I/O and time, which then runs the client's tasks;
    /// when it ends, calls are answered [`Closed`](super::CheckError::Closed).
    ///
    /// # Errors
    /// [`ConnectError`], the most telling one of all seeds. Cancel safe.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let dialer = Arc::new(self.dialer(ALPN_CLIENT)?);
        let first = dialer.connect().await?;
        let lanes = self.connections.saturating_mul(self.streams);
        let core = Arc::new(Core::new(lanes, self.waiting_max));
        if let Some(lane) = core.lanes().first() {
            // The link does it again when it runs; the client is connected from here on.
            lane.attach(core.now(), first.in_flight_max());
        }
        let mut first = Some(first);
        let links: Vec<Arc<Link>> = (0..self.connections)
            .map(|n| {
                let first_lane = n.saturating_mul(self.streams);
                let (core, dialer) = (Arc::clone(&core), Arc::clone(&dialer));
                Arc::new(Link::new(core, dialer, first_lane, self.streams))
            })
            .collect();
        let mut tasks = JoinSet::new();
        for link in &links {
            let (link, session) = (Arc::clone(link), first.take());
            let closed = CloseWithTask(Arc::clone(&core));
            tasks.spawn(async move {
                link.run(session).await;
                drop(closed);
            });
        }
        let streams = self.streams;
        let closed = CloseWithTask(Arc::clone(&core));
        tasks.spawn(async move {
            let silent = |lane: usize| {
                if let Some(link) = links.get(lane / streams) {
                    link.give_up();
                }
            };
            closed.0.keep_time(silent).await;
        });
        Ok(Client::new(core, tasks, self.settings))
    }

    /// Connects to the first seed that answers as an admin, whose certificate [`Builder::tls`] must
    /// hold. Of the other settings only the deadline is used.
    ///
    /// # Errors
    /// [`ConnectError`], the most telling one of all seeds. Cancel safe.
    pub async fn connect_admin(self) -> Result<Admin, ConnectError> {
        let session = self.dialer(ALPN_ADMIN)?.connect().await?;
        Ok(Admin::new(session, self.settings.deadline))
    }

    /// What makes connections that speak `alpn`.
    pub(super) fn dialer(&self, alpn: &[u8]) -> Result<Dialer, ConnectError> {
        let seeds: Vec<Seed> = self
            .seeds
            .iter()
            .map(|seed| seed.clone().checked())
            .collect::<Result<_, _>>()?;
        if seeds.is_empty() {
            return Err(ConnectError::NoSeeds);
        }
        let tls = self.tls.as_ref().ok_or(ConnectError::NoTls)?;
        Ok(Dialer {
            seeds,
            config: client_config(tls, alpn)?,
            greeting: Greeting::of_client(),
        })
    }
}

/// Closes the client when a task that it cannot do without ends: with the runtime, or by a bug.
struct CloseWithTask(Arc<Core>);

impl Drop for CloseWithTask {
    fn drop(&mut self) {
        self.0.close();
    }
}
