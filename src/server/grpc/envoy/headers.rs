//! What clients are told of their limit: of all descriptors the one that is over, else the one with
//! the least left.

use envoy_types::pb::envoy::config::core::v3::HeaderValue;

use super::answer::{Told, ToldLimit};
use crate::types::HeaderStyle;

/// Headers to add to the response.
pub(super) fn headers(told: &[Told], style: HeaderStyle) -> Vec<HeaderValue> {
    let limits = told
        .iter()
        .filter_map(|told| told.limit.as_ref().map(|limit| (told.over, limit)));
    let nearest = limits.min_by_key(|(over, limit)| (!over, limit.remaining));
    let Some((over, limit)) = nearest else {
        return Vec::new();
    };
    if style == HeaderStyle::None {
        return Vec::new();
    }
    let mut headers = Vec::new();
    if style.has_ietf() {
        headers.extend(ietf_headers(limit));
    }
    if style.has_x() {
        headers.extend(x_headers(limit));
    }
    if over && limit.retry_after_ms > 0 {
        headers.push(header(
            "retry-after",
            seconds(limit.retry_after_ms).to_string(),
        ));
    }
    headers
}

/// By draft 10 of the IETF's `RateLimit` header fields.
fn ietf_headers(limit: &ToldLimit) -> [HeaderValue; 2] {
    let name = &limit.policy;
    let window = seconds(limit.window_ms);
    let policy = format!("\"{name}\";q={};w={window}", limit.permits);
    let reset = seconds(limit.reset_after_ms);
    let state = format!("\"{name}\";r={};t={reset}", limit.remaining);
    [
        header("ratelimit-policy", policy),
        header("ratelimit", state),
    ]
}

fn x_headers(limit: &ToldLimit) -> [HeaderValue; 3] {
    let reset = seconds(limit.reset_after_ms).to_string();
    [
        header("x-ratelimit-limit", limit.permits.to_string()),
        header("x-ratelimit-remaining", limit.remaining.to_string()),
        header("x-ratelimit-reset", reset),
    ]
}

/// Never shorter than the truth.
const fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

fn header(name: &str, value: String) -> HeaderValue {
    HeaderValue {
        key: name.to_owned(),
        value,
        raw_value: Vec::new(),
    }
}
