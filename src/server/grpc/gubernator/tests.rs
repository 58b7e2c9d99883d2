//! What Gubernator's clients are answered, over gRPC and as JSON.

use axum::body::{Body, to_bytes};
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::messages::*;
use crate::server::grpc::tests::Bed;

const ON: &str = "allow_request_limits = true\n[policy.own]\nlimit = \"1/s\"";

const RESET: i32 = 8;
const DRAIN: i32 = 32;
const HOUR_MS: i64 = 3_600_000;

fn request(key: &str, hits: i64, behavior: i32) -> RateLimitReq {
    RateLimitReq {
        name: "requests".to_owned(),
        unique_key: key.to_owned(),
        hits,
        limit: 10,
        duration: HOUR_MS,
        behavior,
        ..RateLimitReq::default()
    }
}

async fn ask(bed: &Bed, requests: Vec<RateLimitReq>) -> Result<Vec<RateLimitResp>, Status> {
    let mut grpc = Grpc::new(bed.channel());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/pb.gubernator.V1/GetRateLimits");
    let codec = ProstCodec::<GetRateLimitsReq, GetRateLimitsResp>::default();
    let message = Request::new(GetRateLimitsReq { requests });
    let answer = grpc.unary(message, path, codec).await?;
    Ok(answer.into_inner().responses)
}

/// `UNDER` or `OVER` and what is left, or the error.
fn short(answer: &RateLimitResp) -> String {
    if !answer.error.is_empty() {
        return answer.error.clone();
    }
    let status = match answer.status() {
        LimitStatus::UnderLimit => "UNDER",
        LimitStatus::OverLimit => "OVER",
    };
    format!("{status} {}", answer.remaining)
}

#[tokio::test]
async fn hits_are_counted_looked_at_given_back_reset_and_drained() {
    let bed = Bed::start(ON).await;
    let steps = [
        ("k", 0, 0, "UNDER 10"),
        ("k", 1, 0, "UNDER 9"),
        ("k", 0, 0, "UNDER 9"),
        ("k", 9, 0, "UNDER 0"),
        ("k", 1, 0, "OVER 0"),
        ("k", 0, 0, "OVER 0"),
        ("k", -4, 0, "UNDER 4"),
        ("k", 5, 0, "OVER 4"),
        ("k", 100, 0, "OVER 4"),
        ("k", -100, 0, "UNDER 10"),
        ("k", 3, 0, "UNDER 7"),
        ("k", 3, RESET, "UNDER 10"),
        ("k", 1, 0, "UNDER 9"),
        ("k", 10, DRAIN, "OVER 0"),
        ("k", 0, 0, "OVER 0"),
        // Above the limit.
        ("j", 1, DRAIN, "UNDER 9"),
        ("j", 100, DRAIN, "OVER 0"),
        ("j", 1, 0, "OVER 0"),
    ];
    for (n, (key, hits, behavior, expected)) in steps.into_iter().enumerate() {
        let answers = ask(&bed, vec![request(key, hits, behavior)]).await.unwrap();
        assert_eq!(short(&answers[0]), expected, "step {n}");
    }
    // The same in one request, in their order, whichever the algorithm.
    let all = steps.iter().map(|(key, hits, behavior, _)| RateLimitReq {
        algorithm: 1,
        ..request(&format!("{key}2"), *hits, *behavior)
    });
    let answers = ask(&bed, all.collect()).await.unwrap();
    let answers: Vec<String> = answers.iter().map(short).collect();
    assert_eq!(answers, steps.map(|it| it.3));
}

#[tokio::test]
async fn items_that_cannot_be_answered_say_why_and_do_not_stop_the_others() {
    let bed = Bed::start(ON).await;
    let base = || request("k", 1, 0);
    let cases = [
        (
            RateLimitReq {
                unique_key: String::new(),
                ..base()
            },
            "field 'unique_key' cannot be empty",
        ),
        (
            RateLimitReq {
                name: String::new(),
                ..base()
            },
            "field 'namespace' cannot be empty",
        ),
        (
            RateLimitReq {
                duration: 0,
                ..base()
            },
            "UNDER 9",
        ),
        (RateLimitReq { limit: 0, ..base() }, "OVER 0"),
        (
            RateLimitReq {
                limit: -5,
                duration: i64::MIN,
                hits: i64::MAX,
                ..base()
            },
            "OVER 0",
        ),
        (
            RateLimitReq {
                hits: i64::MIN,
                ..base()
            },
            "UNDER 10",
        ),
        (
            RateLimitReq {
                name: "no policy's name/…".into(),
                ..base()
            },
            "UNDER 9",
        ),
        (
            RateLimitReq {
                unique_key: "k".repeat(4000),
                ..base()
            },
            "UNDER 9",
        ),
    ];
    let requests = cases.iter().map(|(request, _)| request.clone()).collect();
    let answers = ask(&bed, requests).await.unwrap();
    for (answer, (request, expected)) in answers.iter().zip(&cases) {
        assert_eq!(short(answer), *expected, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_not_carried_over_is_said_in_the_item() {
    let bed = Bed::start(ON).await;
    let base = || request("k", 1, 0);
    for (request, part) in [
        (request("k", 1, 2), "GLOBAL is not supported"),
        (request("k", 1, 16), "MULTI_REGION is not supported"),
        (request("k", 1, 4), "DURATION_IS_GREGORIAN is not supported"),
        (
            RateLimitReq {
                name: "own".into(),
                ..base()
            },
            "a configured policy has this name",
        ),
        (
            RateLimitReq {
                duration: i64::MAX,
                ..base()
            },
            "366 days",
        ),
    ] {
        let answers = ask(&bed, vec![request]).await.unwrap();
        assert!(answers[0].error.contains(part), "{}", answers[0].error);
    }
}

#[tokio::test]
async fn a_thousand_items_are_answered_and_no_more() {
    let bed = Bed::start(ON).await;
    let many = |count: usize| (0..count).map(|_| request("many", 1, 0)).collect();
    let refused = ask(&bed, many(1001)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(
        refused.message(),
        "Requests.RateLimits list too large; max size is '1000'"
    );
    let answers = ask(&bed, many(1000)).await.unwrap();
    let under = answers
        .iter()
        .filter(|it| it.status() == LimitStatus::UnderLimit);
    assert_eq!(under.count(), 10);
    assert_eq!(ask(&bed, Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn without_request_limits_the_setting_is_named() {
    let bed = Bed::start("").await;
    for hits in [-1, 0, 1] {
        let answers = ask(&bed, vec![request("k", hits, 0)]).await.unwrap();
        assert!(
            answers[0].error.contains("allow_request_limits"),
            "{}",
            answers[0].error
        );
    }
}

#[tokio::test]
async fn a_changed_limit_keeps_what_was_counted() {
    let bed = Bed::start(ON).await;
    for (limit, expected) in [
        (100, "UNDER 99"),
        (50, "UNDER 48"),
        (200, "UNDER 197"),
        (3, "OVER 0"),
    ] {
        let request = RateLimitReq {
            limit,
            ..request("k", 1, 0)
        };
        let answers = ask(&bed, vec![request]).await.unwrap();
        assert_eq!(short(&answers[0]), expected, "limit {limit}");
    }
}

/// Asks over HTTP; the status and the body.
async fn http(bed: &Bed, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = http::Request::builder().method(method).uri(path);
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = bed.router.clone().call(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn json_is_read_and_written_as_the_gateway_does() {
    let bed = Bed::start(ON).await;
    let cases = [
        (
            r#"{"requests":[{"name":"r","unique_key":"k","hits":"1","limit":10,"duration":"60000"}]}"#,
            "\"status\":\"UNDER_LIMIT\",\"limit\":\"10\",\"remaining\":\"9\"",
        ),
        (
            r#"{"requests":[{"name":"r","uniqueKey":"k","hits":10,"limit":"10","duration":60000,
                "algorithm":"LEAKY_BUCKET","behavior":"DRAIN_OVER_LIMIT","burst":"3"}]}"#,
            "\"status\":\"OVER_LIMIT\",\"limit\":\"10\",\"remaining\":\"0\"",
        ),
        (
            r#"{"requests":[{"name":"r","unique_key":"k","hits":null,"limit":10,"duration":60000,
                "behavior":8,"createdAt":"5"}]}"#,
            "\"remaining\":\"10\",\"reset_time\":\"0\",\"error\":\"\",\"metadata\":{}",
        ),
        (
            r#"{"requests":[{"name":"r","unique_key":"z","hits":1,"limit":1,"duration":-1}]}"#,
            "\"reset_time\":\"1700000000000\"",
        ),
        (
            r#"{"requests":[{"name":"r"}]}"#,
            "field 'unique_key' cannot be empty",
        ),
        ("{}", "{\"responses\":[]}"),
    ];
    for (body, part) in cases {
        let (status, answer) = http(&bed, "POST", "/v1/GetRateLimits", body).await;
        assert_eq!(status, 200, "{body}: {answer}");
        assert!(answer.contains(part), "{body}: {answer}");
    }
    for body in [
        "",
        "[]",
        "{\"requests\":[[\"name\",\"key\",1,1,1000]]}",
        "{\"requests\":[{\"hits\":1.5}]}",
        "{\"requests\":[{\"hits\":\"a\"}]}",
        "{\"requests\":[{\"behavior\":\"GLOBEL\"}]}",
        &"[".repeat(1000),
    ] {
        let (status, answer) = http(&bed, "POST", "/v1/GetRateLimits", body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.starts_with("{\"code\":3,\"message\":"), "{answer}");
    }
    let large = "x".repeat(2 << 20);
    assert_eq!(http(&bed, "POST", "/v1/GetRateLimits", &large).await.0, 413);
    assert_eq!(http(&bed, "GET", "/v1/GetRateLimits", "").await.0, 405);
}

#[tokio::test]
async fn health_follows_the_node() {
    let bed = Bed::start("").await;
    let (status, answer) = http(&bed, "GET", "/v1/HealthCheck", "").await;
    assert_eq!(status, 200);
    assert!(
        answer.starts_with("{\"status\":\"healthy\",\"message\":\"\",\"peer_count\":1"),
        "{answer}"
    );
    bed.ready.send_replace(false);
    let mut grpc = Grpc::new(bed.channel());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/pb.gubernator.V1/HealthCheck");
    let codec = ProstCodec::<HealthCheckReq, HealthCheckResp>::default();
    let answer = grpc
        .unary(Request::new(HealthCheckReq {}), path, codec)
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status, "unhealthy");
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/pb.gubernator.V1/Other");
    let codec = ProstCodec::<HealthCheckReq, HealthCheckResp>::default();
    let refused = grpc
        .unary(Request::new(HealthCheckReq {}), path, codec)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[test]
fn the_bytes_of_messages_are_those_of_gubernator() {
    use prost::Message;
    let request = RateLimitReq {
        name: "n".into(),
        unique_key: "k".into(),
        hits: 1,
        limit: 2,
        duration: 3,
        algorithm: 1,
        behavior: 32,
        created_at: Some(4),
    };
    let expected = [
        10, 1, b'n', 18, 1, b'k', 24, 1, 32, 2, 40, 3, 48, 1, 56, 32, 80, 4,
    ];
    assert_eq!(request.encode_to_vec(), expected);
    let response = RateLimitResp {
        status: 1,
        limit: 2,
        remaining: 3,
        reset_time: 4,
        error: "e".into(),
    };
    assert_eq!(
        response.encode_to_vec(),
        [8, 1, 16, 2, 24, 3, 32, 4, 42, 1, b'e']
    );
}
