//! What there is, and by which methods; everything else is a problem of its own.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::{checks, health, keys, metrics, openapi, page};
use crate::server::Service;
use crate::server::grpc::{self, GrpcSetup};

/// A path, and the methods that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) path: &'static str,
    /// As the header `Allow` lists them.
    pub(super) methods: &'static str,
}

pub(super) const CHECK_ONE: Known = Known {
    path: "/v1/check/{policy}",
    methods: "GET, POST",
};
pub(super) const CHECK_MANY: Known = Known {
    path: "/v1/check",
    methods: "POST",
};
pub(super) const KEY: Known = Known {
    path: "/v1/keys/{policy}/{key}",
    methods: "GET, DELETE",
};
pub(super) const HEALTH: Known = Known {
    path: "/healthz",
    methods: "GET, HEAD",
};
pub(super) const READY: Known = Known {
    path: "/readyz",
    methods: "GET, HEAD",
};
pub(super) const METRICS: Known = Known {
    path: "/metrics",
    methods: "GET, HEAD",
};
pub(super) const OPENAPI: Known = Known {
    path: "/openapi.json",
    methods: "GET, HEAD",
};

pub(super) const PAGE: Known = Known {
    path: "/",
    methods: "GET, HEAD",
};
pub(super) const EVENTS: Known = Known {
    path: "/v1/events",
    methods: "GET, HEAD",
};

/// All of this edge.
#[cfg(test)]
pub(super) const ALL: [Known; 9] = [
    CHECK_ONE, CHECK_MANY, KEY, HEALTH, READY, METRICS, OPENAPI, PAGE, EVENTS,
];

/// Everything that one listener answers.
pub(super) fn router<S: Service>(edge: Edge<S>, setup: GrpcSetup) -> Router {
    let grpc = grpc::routes(edge.desk.clone(), setup);
    let own = Router::new()
        .route(CHECK_ONE.path, any(checks::one::<S>))
        .route(CHECK_MANY.path, any(checks::many::<S>))
        .route(KEY.path, any(keys::key::<S>))
        .route(HEALTH.path, any(health::alive))
        .route(READY.path, any(health::ready::<S>))
        .route(METRICS.path, any(metrics::metrics::<S>))
        .route(OPENAPI.path, any(openapi::document::<S>))
        .route(PAGE.path, any(page::page))
        .route(EVENTS.path, any(page::events::<S>))
        .with_state(edge);
    // What nobody knows is answered by this edge.
    own.merge(grpc).fallback(nothing_here)
}

impl Known {
    /// Refuses other methods.
    pub(super) fn admit(self, method: &Method) -> Result<(), Failure> {
        if self
            .methods
            .split(", ")
            .any(|known| known == method.as_str())
        {
            return Ok(());
        }
        let method: String = method.as_str().chars().take(32).collect();
        let detail = format!("{method} is not known here; use {}", self.methods);
        Err(Problem::MethodNotAllowed
            .because(detail)
            .allow(self.methods))
    }
}

/// Answers what no route knows; in its own way to who speaks gRPC.
async fn nothing_here(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let unimplemented = HeaderValue::from_static("12");
        headers.insert(HeaderName::from_static("grpc-status"), unimplemented);
        return response;
    }
    let path: String = request.uri().path().chars().take(128).collect();
    let detail = format!("`{path}` is not known; /openapi.json lists what is");
    Problem::NotFound.because(detail).response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.response()
    }
}

/// The state of all that answers.
pub(super) type At<S> = State<Edge<S>>;
