//! The router of all that is spoken here.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::envoy::{EnvoyCounts, EnvoyEdge};
use super::gubernator::{GubernatorEdge, GubernatorServer, json};
use super::health::HealthEdge;
use crate::server::Desk;
use crate::server::service::Service;

/// Longest message or body that is read: a thousand checks with the longest keys and names fit.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Longest body of a health question, which holds a service's name.
const HEALTH_BYTES_MAX: usize = 4096;

/// What the router needs beside the desk.
#[derive(Debug, Clone)]
pub(crate) struct GrpcSetup {
    /// Whether the node serves: false before it does, and from when it drains or stops.
    pub(crate) ready: watch::Receiver<bool>,
    /// The wall clock in milliseconds since 1970: Gubernator tells times of day.
    pub(crate) wall_ms: fn() -> u64,
    /// Counts what Envoy asks that no rule is there for.
    pub(crate) envoy: Arc<EnvoyCounts>,
}

/// What is asked over gRPC and at `/v1/GetRateLimits`, `/v1/HealthCheck`. The router has no fallback,
/// so that it can be merged with one that has. Asked at the same desk, all clones are one.
pub(crate) fn routes<S: Service>(desk: Desk<S>, setup: GrpcSetup) -> Router {
    let GrpcSetup {
        ready,
        wall_ms,
        envoy,
    } = setup;
    let envoy = RateLimitServiceServer::new(EnvoyEdge::new(desk.clone(), envoy))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let health = HealthServer::new(HealthEdge::new(ready.clone()))
        .max_decoding_message_size(HEALTH_BYTES_MAX);
    let gubernator = GubernatorEdge::new(desk, ready, wall_ms);
    let gateway = Router::new()
        .route("/v1/GetRateLimits", post(json::get_rate_limits::<S>))
        .route("/v1/HealthCheck", get(json::health_check::<S>))
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .with_state(gubernator.clone());
    // Not the default, which has a fallback.
    Routes::from(gateway)
        .add_service(envoy)
        .add_service(health)
        .add_service(GubernatorServer::new(gubernator))
        .into_axum_router()
}
