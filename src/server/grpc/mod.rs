//! gRPC: Envoy's rate limit service, Gubernator's API (over JSON as well), and gRPC's health service.
//!
//! An edge as all are: it reads its protocol, asks at the [`Desk`](super::Desk), and writes what it
//! is told. What is served is a router, so that it can stand on one listener with HTTP.
//!
//! - [`mod@routes`]: the router, and what it needs.
//! - [`envoy`][]: `envoy.service.ratelimit.v3`.
//! - [`gubernator`]: `pb.gubernator.V1`, and `/v1/GetRateLimits` as its gateway has it.
//! - [`health`][]: `grpc.health.v1`.
//! - [`ask`]: checks that own what they ask, and giving back.
//! - [`all`]: several checks of which all count or none does.
//! - [`deadline`]: how long the caller waits.
//! - [`status`]: what each error is in gRPC.

mod all;
mod ask;
mod deadline;
mod envoy;
mod gubernator;
mod health;
mod routes;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use envoy::EnvoyCounts;
pub(crate) use routes::{GrpcSetup, routes};
