//! HTTP: checks, looks at keys, health and metrics, over HTTP/1.1 and HTTP/2 on one listener, with
//! TLS or without (h2c).
//!
//! Nothing is decided, cached or counted here: a request is read ([`query`], [`body`], [`origin`]),
//! asked at the [`super::Desk`], and its answer told ([`answer`], [`problem`]). [`routes`] says what
//! there is, [`openapi`] tells it to others, and [`connection`] serves one connection within
//! [`bounds`], after its [`handshake`] if there is TLS. Whom to let in for checks is left to the proxy in
//! front, or to the certificates that TLS asks for.

mod answer;
mod bearer;
mod body;
mod bounds;
mod checks;
mod connection;
mod edge;
mod handshake;
mod health;
mod keys;
mod metrics;
mod openapi;
mod origin;
mod page;
mod problem;
mod query;
mod readiness;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use edge::{Http, HttpSettings};
pub(crate) use metrics::{CommitFigures, Figures, Lack, NodeFigures, PolicyFigures, WithoutCounts};
