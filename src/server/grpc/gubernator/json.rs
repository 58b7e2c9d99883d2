//! The same as Gubernator's gateway has it: JSON with the names of the fields as they are in
//! `gubernator.proto` or in camel case, 64-bit numbers as numbers or strings, flags as numbers or by
//! name. Answers have the former names, numbers as strings, and all fields.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tonic::{Code, Status};

use super::messages::{LimitStatus, RateLimitReq, RateLimitResp};
use super::plan::{ALGORITHMS, BEHAVIORS};
use super::service::GubernatorEdge;
use crate::protocol::object::{Object, objects};
use crate::server::grpc::deadline;
use crate::server::service::Service;

/// `POST /v1/GetRateLimits`.
pub(in crate::server::grpc) async fn get_rate_limits<S: Service>(
    State(edge): State<GubernatorEdge<S>>,
    body: Bytes,
) -> Response {
    let asked = match serde_json::from_slice::<Object<Asked>>(&body) {
        Ok(Object(asked)) => asked,
        Err(error) => return failed(&Status::invalid_argument(error.to_string())),
    };
    let requests: Vec<_> = asked.requests.into_iter().map(RateLimitReq::from).collect();
    match edge.get_rate_limits(&requests, deadline::LONGEST).await {
        Ok(responses) => {
            let responses = responses.into_iter().map(Item::from).collect();
            Json(Answered { responses }).into_response()
        }
        Err(status) => failed(&status),
    }
}

/// `GET /v1/HealthCheck`.
pub(in crate::server::grpc) async fn health_check<S: Service>(
    State(edge): State<GubernatorEdge<S>>,
) -> Response {
    let health = edge.health();
    Json(Health {
        status: health.status,
        message: health.message,
        peer_count: health.peer_count,
        advertise_address: health.advertise_address,
    })
    .into_response()
}

fn failed(status: &Status) -> Response {
    let http = match status.code() {
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let failed = Failed {
        code: status.code() as i32,
        message: status.message(),
        details: [],
    };
    (http, Json(failed)).into_response()
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default, deserialize_with = "objects")]
    requests: Vec<Wanted>,
}

/// An item as it is asked for; what is null or not there is 0 or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: Option<String>,
    #[serde(alias = "uniqueKey")]
    unique_key: Option<String>,
    hits: Option<Number>,
    limit: Option<Number>,
    duration: Option<Number>,
    #[serde(deserialize_with = "algorithm")]
    algorithm: i32,
    #[serde(deserialize_with = "behavior")]
    behavior: i32,
    #[serde(alias = "createdAt")]
    created_at: Option<Number>,
}

impl From<Wanted> for RateLimitReq {
    fn from(wanted: Wanted) -> Self {
        let number = |number: Option<Number>| number.map_or(0, |it| it.0);
        Self {
            name: wanted.name.unwrap_or_default(),
            unique_key: wanted.unique_key.unwrap_or_default(),
            hits: number(wanted.hits),
            limit: number(wanted.limit),
            duration: number(wanted.duration),
            algorithm: wanted.algorithm,
            behavior: wanted.behavior,
            created_at: wanted.created_at.map(|it| it.0),
        }
    }
}

/// A 64-bit number, or one in a string.
#[derive(Debug, Clone, Copy)]
struct Number(i64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom("a whole number of 64 bits is wanted");
        match NumberOrText::deserialize(input).map_err(|_| wrong())? {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => text.parse().map(Self).map_err(|_| wrong()),
        }
    }
}

fn algorithm<'de, D: Deserializer<'de>>(input: D) -> Result<i32, D::Error> {
    word(input, &ALGORITHMS, "no algorithm is called so")
}

fn behavior<'de, D: Deserializer<'de>>(input: D) -> Result<i32, D::Error> {
    word(input, &BEHAVIORS, "no behavior is called so")
}

/// A number, or what a name stands for.
fn word<'de, D: Deserializer<'de>>(
    input: D,
    words: &[(&str, i32)],
    wrong: &str,
) -> Result<i32, D::Error> {
    let wrong = || D::Error::custom(wrong);
    match Option::<NumberOrText>::deserialize(input).map_err(|_| wrong())? {
        None => Ok(0),
        Some(NumberOrText::Number(number)) => i32::try_from(number).map_err(|_| wrong()),
        Some(NumberOrText::Text(text)) => words
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, number)| *number)
            .ok_or_else(wrong),
    }
}

#[derive(Debug, Serialize)]
struct Answered {
    responses: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    status: &'static str,
    limit: String,
    remaining: String,
    reset_time: String,
    error: String,
    metadata: Nothing,
}

/// An object without fields.
#[derive(Debug, Serialize)]
struct Nothing {}

impl From<RateLimitResp> for Item {
    fn from(answer: RateLimitResp) -> Self {
        let status = match answer.status() {
            LimitStatus::UnderLimit => "UNDER_LIMIT",
            LimitStatus::OverLimit => "OVER_LIMIT",
        };
        Self {
            status,
            limit: answer.limit.to_string(),
            remaining: answer.remaining.to_string(),
            reset_time: answer.reset_time.to_string(),
            error: answer.error,
            metadata: Nothing {},
        }
    }
}

#[derive(Debug, Serialize)]
struct Health {
    status: String,
    message: String,
    peer_count: i32,
    advertise_address: String,
}

#[derive(Debug, Serialize)]
struct Failed<'a> {
    code: i32,
    message: &'a str,
    details: [(); 0],
}
