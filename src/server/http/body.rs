//! Bodies of requests: bounded in length and time, and JSON or nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::timeout;

use super::bounds::HttpBounds;
use super::problem::{Failure, Problem};
use crate::protocol::object::Object;

/// When who finds too many bodies at once should come back, in milliseconds.
const OVERLOADED_RETRY_MS: u64 = 100;

/// Bytes of bodies that are held now, of all connections.
#[derive(Debug, Default)]
pub(super) struct Bodies(AtomicUsize);

/// A body that has come in whole, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    bytes: Vec<u8>,
    bodies: &'a Bodies,
}

impl Whole<'_> {
    /// The body; empty if there is none.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, piece: &[u8], bounds: &HttpBounds) -> Result<(), Failure> {
        if self.bytes.len().saturating_add(piece.len()) > bounds.body_bytes_max {
            return Err(too_large(bounds.body_bytes_max));
        }
        let held = self.bodies.0.fetch_add(piece.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(piece);
        if held.saturating_add(piece.len()) > bounds.bodies_bytes_max {
            let mut failure = Problem::Overloaded.because("too many bodies come in at once");
            failure.retry_ms = Some(OVERLOADED_RETRY_MS);
            return Err(failure);
        }
        Ok(())
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Bodies {
    /// No body.
    pub(super) const fn none(&self) -> Whole<'_> {
        Whole {
            bytes: Vec::new(),
            bodies: self,
        }
    }

    /// Takes a body in.
    pub(super) async fn read(&self, body: Body, bounds: &HttpBounds) -> Result<Whole<'_>, Failure> {
        if body.is_end_stream() {
            return Ok(self.none());
        }
        let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if least > bounds.body_bytes_max {
            return Err(too_large(bounds.body_bytes_max));
        }
        let whole = timeout(bounds.body_timeout, self.collect(body, bounds));
        let whole = whole.await;
        whole.unwrap_or_else(|_| Err(too_slow(bounds.body_timeout)))
    }

    async fn collect(&self, body: Body, bounds: &HttpBounds) -> Result<Whole<'_>, Failure> {
        let mut whole = self.none();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                Problem::BadRequest.because(format!("the body could not be read: {error}"))
            })?;
            whole.push(&piece, bounds)?;
        }
        Ok(whole)
    }
}

fn too_large(max: usize) -> Failure {
    Problem::BodyTooLarge.because(format!(
        "a body has at most {max} bytes; send several requests"
    ))
}

fn too_slow(timeout: Duration) -> Failure {
    Problem::BodyTimeout.because(format!("the body did not come within {timeout:?}"))
}

/// Refuses a body that is not said to be JSON.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let kind = kind.unwrap_or_default().split(|b| *b == b';').next();
    if kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        return Ok(());
    }
    let failure = Problem::UnsupportedMediaType
        .because("send JSON, and say so: Content-Type: application/json");
    Err(failure.with(ACCEPT, "application/json"))
}

/// Reads a JSON object.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    let object = serde_json::from_slice::<Object<T>>(bytes);
    object.map(|object| object.0).map_err(|error| {
        let detail = format!("the body is not what is expected here: {error}; see /openapi.json");
        Problem::BadRequest.because(detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded_one_by_one_and_together() {
        let bounds = HttpBounds {
            body_bytes_max: 10,
            bodies_bytes_max: 15,
            ..HttpBounds::default()
        };
        let bodies = Bodies::default();
        let read = async |bytes: usize| bodies.read(Body::from(vec![b'a'; bytes]), &bounds).await;
        let first = read(10).await.unwrap();
        assert_eq!(read(11).await.unwrap_err().problem, Problem::BodyTooLarge);
        let refused = read(6).await.unwrap_err();
        assert_eq!(refused.problem, Problem::Overloaded);
        assert_eq!(refused.retry_ms, Some(OVERLOADED_RETRY_MS));
        let second = read(5).await.unwrap();
        assert_eq!((first.bytes().len(), second.bytes().len()), (10, 5));
        drop((first, second));
        assert_eq!(bodies.0.load(Ordering::Relaxed), 0);
        assert!(read(0).await.unwrap().bytes().is_empty());
    }
}
