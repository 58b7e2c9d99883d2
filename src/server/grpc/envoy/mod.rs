//! `envoy.service.ratelimit.v3`: what Envoy's rate limit filters ask.
//!
//! - [`plan`]: what each descriptor asks for, by the rules of its domain.
//! - [`service`]: counts all of a request or none, and gives back.
//! - [`answer`]: what is told of each descriptor.
//! - [`headers`]: what clients are told.
//! - [`counts`]: what no rule is there for.

mod answer;
mod counts;
mod headers;
mod plan;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use counts::EnvoyCounts;
pub(super) use service::EnvoyEdge;
