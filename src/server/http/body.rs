//! Bodies of requests: bounded in length and time, and JSON or nothing.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::timeout;

use super::bounds::HttpBounds;
use super::problem::{Failure, Problem};

/// The whole body; empty if there is none.
pub(super) async fn read(body: Body, bounds: &HttpBounds) -> Result<Vec<u8>, Failure> {
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let max = bounds.body_bytes_max;
    let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if least > max {
        return Err(too_large(max));
    }
    let whole = timeout(bounds.body_timeout, collect(body, least, max));
    whole
        .await
        .unwrap_or_else(|_| Err(too_slow(bounds.body_timeout)))
}

async fn collect(body: Body, least: usize, max: usize) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::with_capacity(least);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Problem::BadRequest.because(format!("the body could not be read: {error}"))
        })?;
        if whole.len().saturating_add(piece.len()) > max {
            return Err(too_large(max));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
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

/// Reads JSON.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = format!("the body is not what is expected here: {error}; see /openapi.json");
        Problem::BadRequest.because(detail)
    })
}
