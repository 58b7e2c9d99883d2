//! The layer in front of a service that counts its calls, against a real server.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::client::OnUnavailable;
use crate::limiter::policy::{Limit as PolicyLimit, Policy};
use crate::testing::Server;

/// Answers 200 and counts; says it is busy as often as it is told, and panics if it is called then.
#[derive(Debug, Clone, Default)]
struct Counting {
    calls: Arc<AtomicU32>,
    busy: u32,
    is_ready: bool,
}

impl Service<Request<()>> for Counting {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.busy > 0 {
            self.busy -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        assert!(self.is_ready, "it is called before it is ready");
        self.is_ready = false;
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new("served".to_owned())))
    }
}

fn server() -> Server {
    let policy = |text: &str| Policy::new(text.parse::<PolicyLimit>().unwrap());
    Server::start([("api", policy("2/min")), ("other", policy("1/min"))]).unwrap()
}

fn api_key(head: &Parts) -> Option<String> {
    Some(head.headers.get("x-api-key")?.to_str().ok()?.to_owned())
}

/// Status, `RateLimit`, `RateLimit-Policy` and `Retry-After` of the answer; times as `_`.
async fn ask<S>(service: &mut S, key: Option<&str>) -> [String; 4]
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible>,
{
    let mut request = Request::new(());
    if let Some(key) = key {
        let key = HeaderValue::from_str(key).unwrap();
        request.headers_mut().insert("x-api-key", key);
    }
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let response = service.call(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        let text = value.map_or("", |value| value.to_str().unwrap());
        let (start, time) = text.rsplit_once("t=").unwrap_or((text, ""));
        if time.is_empty() {
            return text.to_owned();
        }
        assert!((59..=62).contains(&time.parse::<u64>().unwrap()), "{text}");
        format!("{start}t=_")
    };
    let status = response.status().as_str().to_owned();
    let mut retry = header("retry-after");
    if status == "429" {
        assert!(retry.parse::<u64>().unwrap() > 0, "{retry}");
        retry = "_".to_owned();
    }
    assert_eq!(response.body() == "served", status == "200");
    [
        status,
        header("ratelimit"),
        header("ratelimit-policy"),
        retry,
    ]
}

#[tokio::test]
async fn a_request_passes_or_is_told_when_to_come_back() {
    let server = server();
    let client = server.client().connect().await.unwrap();
    let inner = Counting {
        busy: 2,
        ..Counting::default()
    };
    let mut service = RateLimitLayer::new(client, "api")
        .key(api_key)
        .layer(inner.clone());
    let policy = "\"api\";q=2";
    let long = "k".repeat(300);
    let cases = [
        (Some("a"), ["200", "\"api\";r=1;t=_", policy, ""]),
        (Some("a"), ["200", "\"api\";r=0;t=_", policy, ""]),
        (Some("a"), ["429", "\"api\";r=0;t=_", policy, "_"]),
        (Some("b"), ["200", "\"api\";r=1;t=_", policy, ""]),
        (None, ["200", "", "", ""]),
        (Some(""), ["400", "", "", ""]),
        (Some(&long), ["400", "", "", ""]),
    ];
    for (key, expected) in cases {
        assert_eq!(ask(&mut service, key).await, expected, "{key:?}");
    }
    assert_eq!(inner.calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn without_a_key_all_are_one_and_an_unknown_policy_is_an_error() {
    let server = server();
    let client = server.client().connect().await.unwrap();
    let inner = Counting::default();
    let mut together = RateLimitLayer::new(client.clone(), "other").layer(inner.clone());
    assert_eq!(ask(&mut together, Some("a")).await[0], "200");
    assert_eq!(ask(&mut together.clone(), Some("b")).await[0], "429");
    let mut unknown = RateLimitLayer::new(client, "none").layer(inner.clone());
    assert_eq!(ask(&mut unknown, None).await, ["503", "", "", "1"]);
    assert_eq!(inner.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_client_says_what_is_done_when_nobody_can_be_asked() {
    let server = server();
    let client = server.client().deadline(Duration::from_millis(200));
    let client = client.connect().await.unwrap();
    drop(server);
    let inner = Counting::default();
    for (on_unavailable, expected) in [
        (OnUnavailable::Error, ["503", "", "", "1"]),
        (OnUnavailable::Allow, ["200", "", "", ""]),
        (OnUnavailable::Deny, ["429", "", "", "_"]),
    ] {
        let client = client.with_on_unavailable(on_unavailable);
        let mut service = RateLimitLayer::new(client, "api").layer(inner.clone());
        assert_eq!(
            ask(&mut service, None).await,
            expected,
            "{on_unavailable:?}"
        );
    }
    assert_eq!(inner.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_service_that_is_not_ready_takes_nothing() {
    let server = server();
    let client = server.client().connect().await.unwrap();
    let inner = Counting {
        busy: u32::MAX,
        ..Counting::default()
    };
    let mut service = RateLimitLayer::new(client, "api").layer(inner);
    let is_pending = poll_fn(|cx| {
        Poll::Ready(Service::<Request<()>>::poll_ready(&mut service, cx).is_pending())
    });
    assert!(is_pending.await);
}

#[test]
fn seconds_are_rounded_up() {
    for (ms, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
        assert_eq!(seconds(Duration::from_millis(ms)), expected);
    }
}
