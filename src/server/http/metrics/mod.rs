//! What `/metrics` tells, in the text format of Prometheus. All but the edge's own counts is asked for
//! when it is scraped. No metric is labelled by a key.

mod counts;
mod families;
mod figures;
mod page;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;

use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::routes::{At, METRICS};
use crate::server::Service;

pub(super) use counts::Counts;
pub(crate) use figures::{CommitFigures, Figures, Lack, NodeFigures, PolicyFigures, WithoutCounts};

/// `GET /metrics`.
pub(super) async fn metrics<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    METRICS.admit(request.method())?;
    let text = edge.metrics().await.ok_or_else(|| {
        Problem::Unavailable.because("the node does not tell how it is; see its log")
    })?;
    Ok(([(CONTENT_TYPE, page::CONTENT_TYPE)], text).into_response())
}

impl<S: Service> Edge<S> {
    async fn metrics(&self) -> Option<String> {
        let (status, ring) = self.look().await;
        let status = status?;
        let node = self.rules.figures.figures();
        let mut families = families::of_node(&status, &node);
        families.extend(families::of_cluster(&ring, &status));
        families.extend(self.rules.counts.families());
        families.extend(families::of_envoy(&self.rules.envoy));
        page::text(families).ok()
    }
}
