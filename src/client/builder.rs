//! Describes a client and connects it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::admin::Admin;
use super::client::Client;
use super::core::Core;
use super::dial::{Dialer, Greeting};
use super::error::ConnectError;
use super::keeper::keep_links;
use super::link::Link;
use super::place::Shape;
use super::seats::SEEDS;
use super::seed::Seed;
use super::settings::{Hedging, OnUnavailable, ResendLost, Routing, Settings};
use super::watch::watch_routes;
use crate::protocol::hello::{ALPN_ADMIN, ALPN_CLIENT};
use crate::transport::endpoint::{STREAMS_MAX, client_config};
use crate::transport::tls::Credentials;
use crate::types::NodeId;

/// Most connections of one client.
pub const CONNECTIONS_MAX: usize = 1024;

/// Default number of connections: two, so that one goes on when the other is lost, and a node can
/// serve them on two cores.
pub const CONNECTIONS_DEFAULT: usize = 2;

/// Default of [`Builder::waiting_max`]: far above what a node needs to be busy, and a few megabytes
/// at most.
pub const WAITING_MAX_DEFAULT: usize = 16_384;

/// Default of [`Builder::denial_cache`]: about a megabyte.
pub const DENIALS_DEFAULT: usize = 10_000;

/// Most denials that a client keeps.
pub const DENIALS_MAX: usize = 1 << 20;

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
    denials_max: usize,
    routing: Routing,
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
            denials_max: DENIALS_DEFAULT,
            routing: Routing::default(),
        }
    }
}

impl Builder {
    /// Nodes to ask first: `host:port` strings, resolved anew at every attempt (a name may stand for
    /// many nodes), or socket addresses. The first that answers is used, and tells of the others;
    /// when it is lost, the first that answers then, the nodes of the cluster after the seeds.
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

    /// Whether a peek that takes longer than usual is asked of a second node too; it is unless told.
    pub const fn hedging(mut self, hedging: Hedging) -> Self {
        self.settings.hedging = hedging;
        self
    }

    /// Connections to keep to the seeds, and to each node that is asked, 1 to [`CONNECTIONS_MAX`]; [`CONNECTIONS_DEFAULT`] unless told.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// Streams on each connection, 1 to 15; 1 unless told. More help only where packets are lost:
    /// then the other streams go on.
    pub fn streams(mut self, streams: usize) -> Self {
        // One is for the routes.
        let max = usize::try_from(STREAMS_MAX).map_or(usize::MAX, |max| max.saturating_sub(1));
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

    /// Whom to ask in a cluster: the owner of each key unless told.
    pub const fn routing(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// Denials to remember, at most [`DENIALS_MAX`]; [`DENIALS_DEFAULT`] unless told, 0 turns it
    /// off.
    ///
    /// Who was denied with a time to come back ([`Decision::retry_after`](crate::Decision)) is
    /// denied until then without asking, with [`Source::Cached`](crate::Source::Cached) and the
    /// time that is left. That is what the owner would answer: a denial stays true until enough of
    /// what was granted leaves the window. Only requests of at least the denied cost are answered
    /// so, never a [`peek`](Client::peek). A change of the policies empties the cache at once, and a
    /// reset, refund or settlement by this client drops its key; what another client gives back is
    /// felt when `retry_after` has passed.
    ///
    /// ```no_run
    /// # use distributed_rate_limiter::client::{Client, Credentials, Role};
    /// # async fn example(tls: Credentials) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder()
    ///     .seeds(["limits.example:7400"])
    ///     .tls(tls)
    ///     .denial_cache(0) // every denial is asked for
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn denial_cache(mut self, denials: usize) -> Self {
        self.denials_max = denials.min(DENIALS_MAX);
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
        let first = dialer.connect(Vec::new()).await?;
        let shape = Shape {
            connections: self.connections,
            streams: self.streams,
            waiting_max: self.waiting_max,
            routing: self.routing,
        };
        let core = Arc::new(Core::new(shape, self.denials_max, &first.welcome));
        if let Some(lane) = core.place(SEEDS).lanes().first() {
            // The link does it again when it runs; the client is connected from here on.
            let node = NodeId(first.welcome.node);
            lane.attach(core.now(), node, first.in_flight_max());
        }
        let config = dialer.config.clone();
        let mut first = Some(first);
        let mut tasks = JoinSet::new();
        for n in 0..self.connections {
            let link = Link::new(Arc::clone(&core), Arc::clone(&dialer), SEEDS, n);
            spawn(&mut tasks, &core, link.run(first.take()));
        }
        spawn(&mut tasks, &core, keep_links(Arc::clone(&core), config));
        if self.routing != Routing::Seeds {
            spawn(&mut tasks, &core, watch_routes(Arc::clone(&core)));
        }
        let timed = Arc::clone(&core);
        spawn(&mut tasks, &core, async move { timed.keep_time().await });
        Ok(Client::new(core, tasks, self.settings))
    }

    /// Connects to the first seed that answers as an admin, whose certificate [`Builder::tls`] must
    /// hold. Of the other settings only the deadline is used.
    ///
    /// # Errors
    /// [`ConnectError`], the most telling one of all seeds. Cancel safe.
    pub async fn connect_admin(self) -> Result<Admin, ConnectError> {
        let session = self.dialer(ALPN_ADMIN)?.connect(Vec::new()).await?;
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
            from: None,
        })
    }
}

/// Runs a task that the client cannot do without.
fn spawn(
    tasks: &mut JoinSet<()>,
    core: &Arc<Core>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let closed = CloseWithTask(Arc::clone(core));
    tasks.spawn(async move {
        task.await;
        drop(closed);
    });
}

/// Closes the client when a task that it cannot do without ends: with the runtime, or by a bug.
struct CloseWithTask(Arc<Core>);

impl Drop for CloseWithTask {
    fn drop(&mut self) {
        self.0.close();
    }
}
