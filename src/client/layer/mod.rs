//! A layer for tower services over HTTP: asks before a request is served, and answers 429 itself if it
//! may not pass.
//!
//! It decides nothing and remembers nothing: what the [`Client`] is answered is what is done.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::client::Client;
use super::error::CheckError;
use crate::types::Decision;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The key of all requests where no other is told.
const ONE_KEY: &str = "all";

/// When to come back where nothing is known of it, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// Limits the requests of a tower service (axum, tonic, hyper) by a policy.
///
/// A request that may pass goes on to the service; its answer gets the headers `RateLimit` and
/// `RateLimit-Policy` (IETF draft 10). One that may not is answered here, with an empty body:
///
/// | the check | the answer |
/// |---|---|
/// | denied | 429 with the same headers, and `Retry-After` in whole seconds, rounded up |
/// | no decision: nobody can be asked, the policy is unknown, … | 503 with `Retry-After: 1` |
/// | the key is empty or longer than 256 bytes | 400 |
///
/// [`Builder::on_unavailable`](super::Builder::on_unavailable) of the client says what is done when
/// nobody who knows the counts can be asked: an error is answered 503, `Allow` lets the request pass,
/// and `Deny` answers 429. A degraded decision knows no counts, so that it gets no `RateLimit` headers.
///
/// Back-pressure: a request is taken when the service behind is ready, and is held for as long as the
/// check takes, at most the client's deadline. The service's readiness is kept for it meanwhile, and
/// given up if it is denied. Checks are bounded by the client
/// ([`Builder::waiting_max`](super::Builder::waiting_max)), and what is above is answered 503 at once.
/// A request that is dropped while it waits may have been counted.
///
/// ```no_run
/// use distributed_rate_limiter::client::{Client, RateLimitLayer};
///
/// # fn example(client: Client) {
/// let by_api_key = RateLimitLayer::new(client, "api").key(|request| {
///     let key = request.headers.get("x-api-key")?;
///     Some(key.to_str().ok()?.to_owned())
/// });
/// # }
/// ```
pub struct RateLimitLayer<K = fn(&Parts) -> Option<String>> {
    limit: Arc<Limit<K>>,
}

/// What all services of a layer share.
struct Limit<K> {
    client: Client,
    policy: String,
    key: K,
}

impl RateLimitLayer {
    /// Limits all requests together by `policy`, until [`RateLimitLayer::key`] tells them apart.
    pub fn new(client: Client, policy: impl Into<String>) -> Self {
        Self {
            limit: Arc::new(Limit {
                client,
                policy: policy.into(),
                key: |_| Some(ONE_KEY.to_owned()),
            }),
        }
    }
}

impl<K> RateLimitLayer<K> {
    /// Limits each request by the key that `key` finds in its head. `None` lets it pass unasked and
    /// uncounted; answer some key for whoever shows none, unless that is what you want.
    #[must_use]
    pub fn key<F>(self, key: F) -> RateLimitLayer<F>
    where
        F: Fn(&Parts) -> Option<String>,
    {
        RateLimitLayer {
            limit: Arc::new(Limit {
                client: self.limit.client.clone(),
                policy: self.limit.policy.clone(),
                key,
            }),
        }
    }
}

impl<K> Clone for RateLimitLayer<K> {
    fn clone(&self) -> Self {
        Self {
            limit: Arc::clone(&self.limit),
        }
    }
}

impl<K> fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("policy", &self.limit.policy)
            .finish_non_exhaustive()
    }
}

impl<S, K> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            limit: Arc::clone(&self.limit),
        }
    }
}

/// A service whose requests are limited; see [`RateLimitLayer`].
pub struct RateLimit<S, K = fn(&Parts) -> Option<String>> {
    inner: S,
    limit: Arc<Limit<K>>,
}

impl<S: Clone, K> Clone for RateLimit<S, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: Arc::clone(&self.limit),
        }
    }
}

impl<S: fmt::Debug, K> fmt::Debug for RateLimit<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("policy", &self.limit.policy)
            .field("inner", &self.inner)
            .finish()
    }
}

/// The answer of a [`RateLimit`] to come.
pub type RateLimitFuture<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, K, B, R> Service<Request<B>> for RateLimit<S, K>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    K: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RateLimitFuture<Response<R>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = Arc::clone(&self.limit);
        // The one that said it is ready is the one to call.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Some(key) = (limit.key)(&head) else {
                return ready.call(Request::from_parts(head, body)).await;
            };
            let decided = limit.client.check(&limit.policy, &key).await;
            match decided {
                Ok(decision) if decision.allowed => {
                    let request = Request::from_parts(head, body);
                    let mut response = ready.call(request).await?;
                    tell(&decision, &limit.policy, response.headers_mut());
                    Ok(response)
                }
                Ok(decision) => Ok(denied(&decision, &limit.policy)),
                Err(error) => Ok(refused(&error)),
            }
        })
    }
}

/// The answer to a request that may not pass.
fn denied<R: Default>(decision: &Decision, policy: &str) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    tell(decision, policy, headers);
    let retry_after = seconds(decision.retry_after).max(RETRY_AFTER_S);
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}

/// The answer where there is no decision.
fn refused<R: Default>(error: &CheckError) -> Response<R> {
    let mut response = Response::new(R::default());
    if let CheckError::Key(_) = error {
        tracing::debug!(%error, "request refused: its key cannot be one");
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    }
    tracing::warn!(%error, "request refused: no decision");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    response
}

/// Adds what is known of the limit.
fn tell(decision: &Decision, policy: &str, headers: &mut HeaderMap) {
    if decision.is_degraded() {
        return;
    }
    let (limit, left) = (decision.limit, decision.remaining);
    let reset = seconds(decision.reset_after);
    let mut text = String::new();
    let mut insert = |name: HeaderName, parts: fmt::Arguments<'_>| {
        text.clear();
        // Names of policies hold no quote, so that they need no escape.
        if write!(text, "\"{policy}\"{parts}").is_ok()
            && let Ok(value) = HeaderValue::from_str(&text)
        {
            headers.insert(name, value);
        }
    };
    insert(RATE_LIMIT_POLICY, format_args!(";q={limit}"));
    insert(RATE_LIMIT, format_args!(";r={left};t={reset}"));
}

/// Whole seconds, rounded up: nobody who waits them comes too early.
fn seconds(time: std::time::Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part)
}
