//! One connection: HTTP/1.1 or HTTP/2, whichever its first bytes say, until it ends, is idle for too
//! long, or the node stops.
//!
//! All that belongs to a connection ends with it: the streams of HTTP/2 are tasks of its own set.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bounds::HttpBounds;
use super::edge::{Peer, Rules};
use crate::server::Stopping;

/// How long a connection that is to end may take when nothing of it is being answered any more.
const END_WAIT: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn serve(
    (stream, peer): (
        impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        SocketAddr,
    ),
    router: Router,
    rules: &Arc<Rules>,
    stopping: Stopping,
) {
    let tasks = Tasks::default();
    let visit = Arc::new(Visit {
        router: TowerToHyperService::new(router),
        peer: Peer(peer.ip()),
        rules: Arc::clone(rules),
        progress: Progress::default(),
    });
    let builder = builder(tasks.clone(), &rules.bounds);
    let answering = Arc::clone(&visit);
    let service = service_fn(move |request| Arc::clone(&answering).answer(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stop = pin!(stopping.begun());
    let mut tick = pin!(sleep(rules.bounds.idle_timeout));
    let (mut seen, mut ends) = (0, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection lost");
                }
                return;
            }
            () = stop.as_mut(), if !ends => {
                ends = true;
                connection.as_mut().graceful_shutdown();
                tick.set(sleep(END_WAIT));
            }
            () = tick.as_mut() => {
                let begun = visit.progress.begun.load(Ordering::Relaxed);
                let idle = begun == seen && !visit.progress.is_busy() && !tasks.are_busy();
                if idle && ends {
                    return;
                }
                if idle {
                    ends = true;
                    connection.as_mut().graceful_shutdown();
                }
                seen = begun;
                tick.set(sleep(if ends { END_WAIT } else { rules.bounds.idle_timeout }));
            }
        }
    }
}

fn builder(tasks: Tasks, bounds: &HttpBounds) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle_timeout)
        .max_buf_size(bounds.head_bytes_max)
        .max_headers(bounds.headers_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(bounds.head_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(bounds.streams_max)
        .keep_alive_interval(bounds.ping_interval)
        .keep_alive_timeout(bounds.ping_timeout);
    builder
}

/// What the requests of a connection share.
struct Visit {
    router: TowerToHyperService<Router>,
    peer: Peer,
    rules: Arc<Rules>,
    progress: Progress,
}

impl Visit {
    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let busy = Busy::begin(&self);
        let version = request.version();
        request.extensions_mut().insert(self.peer);
        #[cfg(feature = "otlp")]
        let response = self.traced(request).await?;
        #[cfg(not(feature = "otlp"))]
        let response = self.router.call(request).await?;
        self.rules.counts.answered(&response);
        // HTTP/2 streams are tasks, and counted as such, until their bodies have ended.
        if version == Version::HTTP_2 || response.body().size_hint().exact().is_some() {
            return Ok(response);
        }
        Ok(response.map(|body| {
            let pieces = body.into_data_stream().inspect(move |_| {
                let _until_its_end: &Busy = &busy;
            });
            Body::from_stream(pieces)
        }))
    }
}

#[cfg(feature = "otlp")]
impl Visit {
    /// The router's answer, in a span if the request is sampled.
    async fn traced(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        use tracing::Instrument as _;
        let (method, path) = (request.method(), request.uri().path());
        let span = crate::telemetry::request_span(method, path, request.headers());
        let response = self.router.call(request).instrument(span.clone()).await?;
        span.record("http.response.status_code", response.status().as_u16());
        Ok(response)
    }
}

/// What of a connection's requests is still being answered.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicU64,
    open: AtomicU64,
}

impl Progress {
    fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

/// A request that is being answered until this is dropped.
struct Busy(Arc<Visit>);

impl Busy {
    fn begin(visit: &Arc<Visit>) -> Self {
        visit.progress.begun.fetch_add(1, Ordering::Relaxed);
        visit.progress.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(visit))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.progress.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tasks of a connection's HTTP/2 streams; the last one to let go of the set ends them.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn are_busy(&self) -> bool {
        let mut tasks = self.0.lock();
        reap(&mut tasks);
        !tasks.is_empty()
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock();
        reap(&mut tasks);
        tasks.spawn(stream);
    }
}

/// Lets go of those that have ended.
fn reap(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!("the answer to a request failed; this is a bug");
        }
    }
}
