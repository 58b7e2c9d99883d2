//! The status page, and the stream of events that keeps it live. One file without a build step; all
//! that it shows comes from this node, as this node sees the cluster.

mod view;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use tokio::time::sleep;

use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::routes::{At, EVENTS, PAGE};
use crate::server::Service;

/// Everything the page is made of.
const HTML: &str = include_str!("page.html");

/// What the page may load: itself, and the events of this node.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Time between two events.
const PERIOD: Duration = Duration::from_secs(1);

/// Most pages that are kept live at once: each costs a look at the whole node a second.
const WATCHERS_MAX: usize = 32;

/// How many pages are kept live.
#[derive(Debug, Default)]
pub(super) struct Watchers(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Watching(Arc<AtomicUsize>);

impl Watchers {
    fn admit(&self) -> Option<Watching> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let watching = Watching(Arc::clone(&self.0));
        (before < WATCHERS_MAX).then_some(watching)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /`: the page.
pub(super) async fn page(request: Request) -> Result<Response, Failure> {
    PAGE.admit(request.method())?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, HTML).into_response())
}

/// `GET /v1/events`: how the node is, a JSON object a second, until the node stops.
pub(super) async fn events<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    EVENTS.admit(request.method())?;
    let Some(watching) = edge.rules.watchers.admit() else {
        let detail = format!("{WATCHERS_MAX} pages are watched already; close one");
        return Err(Problem::Overloaded.because(detail));
    };
    if request.method() == Method::HEAD {
        return Ok(([(CONTENT_TYPE, "text/event-stream")], "").into_response());
    }
    let stopping = edge.stopping.clone();
    let events = views(edge).map(move |view| {
        let _until_its_end: &Watching = &watching;
        let event = Event::default().data(view);
        Ok::<_, Infallible>(event)
    });
    Ok(Sse::new(events.take_until(stopping.begun())).into_response())
}

/// The node's view, at once and then again and again.
fn views<S: Service>(edge: Edge<S>) -> impl Stream<Item = String> + Send {
    stream::unfold((edge, false), |(edge, waits)| async move {
        if waits {
            sleep(PERIOD).await;
        }
        let view = edge.view().await?;
        Some((view, (edge, true)))
    })
}
