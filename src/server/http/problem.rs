//! What can go wrong, with its status: the one table of problems, which `/openapi.json` shows too.
//!
//! Each problem has a response of `application/problem+json` (RFC 9457), whose `type` leads into
//! that document, but for a denial, which has the type of the IETF's draft on rate limits.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};

use super::answer::seconds_up;
use crate::protocol::error::WireError;
use crate::protocol::http::ProblemBody;

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The type of a denial, as draft 10 of the IETF's fields for rate limits registers it.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// When who meets a node that does not serve should come back, in milliseconds.
const UNAVAILABLE_RETRY_MS: u64 = 1000;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// The limits deny it; normal.
    Denied,
    /// No policy has this name.
    UnknownPolicy,
    /// No key was sent, and none is found where the node looks for it.
    KeyEmpty,
    /// The key is too long.
    KeyTooLong,
    /// The cost can never pass.
    CostAboveLimit,
    /// Too many checks in one request.
    BatchTooLarge,
    /// The request cannot be read, or makes no sense.
    BadRequest,
    /// No bearer token, or a wrong one.
    Unauthorized,
    /// The node has no bearer token, so that nobody may do this.
    NoToken,
    /// Nothing is there.
    NotFound,
    /// Not by this method.
    MethodNotAllowed,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is too long.
    BodyTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// Not decided in time.
    DeadlineExceeded,
    /// More work than the node takes.
    Overloaded,
    /// The node does not serve.
    Unavailable,
    /// The storage failed.
    StorageFailed,
    /// It may have been counted.
    AnswerLost,
    /// The node should not be asked now.
    NotReady,
    /// A mistake of ours.
    Internal,
}

/// How a problem is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// Its name, for programs and metrics.
    pub(super) code: &'static str,
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
}

impl Problem {
    /// All of them, in the order of the enum.
    pub(super) const ALL: [Self; 21] = [
        Self::Denied,
        Self::UnknownPolicy,
        Self::KeyEmpty,
        Self::KeyTooLong,
        Self::CostAboveLimit,
        Self::BatchTooLarge,
        Self::BadRequest,
        Self::Unauthorized,
        Self::NoToken,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::DeadlineExceeded,
        Self::Overloaded,
        Self::Unavailable,
        Self::StorageFailed,
        Self::AnswerLost,
        Self::NotReady,
        Self::Internal,
    ];

    /// The table. A denial has the status that the node is told to give it instead of 429.
    #[rustfmt::skip]
    pub(super) const fn about(self) -> About {
        let (code, status, title) = match self {
            Self::Denied => ("denied", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::UnknownPolicy => ("unknown-policy", StatusCode::NOT_FOUND, "No such policy"),
            Self::KeyEmpty => ("key-empty", StatusCode::BAD_REQUEST, "No key"),
            Self::KeyTooLong => ("key-too-long", StatusCode::BAD_REQUEST, "The key is too long"),
            Self::CostAboveLimit => ("cost-above-limit", StatusCode::BAD_REQUEST, "The cost can never pass"),
            Self::BatchTooLarge => ("batch-too-large", StatusCode::BAD_REQUEST, "Too many checks at once"),
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
            Self::NoToken => ("no-token", StatusCode::FORBIDDEN, "Nobody may do this here"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "Nothing is here"),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not by this method"),
            Self::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "The body is too slow"),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
            Self::UnsupportedMediaType => ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON"),
            Self::DeadlineExceeded => ("deadline-exceeded", StatusCode::GATEWAY_TIMEOUT, "Not decided in time"),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Too much work"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "The node does not serve"),
            Self::StorageFailed => ("storage-failed", StatusCode::SERVICE_UNAVAILABLE, "The storage failed"),
            Self::AnswerLost => ("answer-lost", StatusCode::SERVICE_UNAVAILABLE, "It may have been counted"),
            Self::NotReady => ("not-ready", StatusCode::SERVICE_UNAVAILABLE, "The node is not ready"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "A mistake of the node"),
        };
        About { code, status, title }
    }

    /// Where it is described.
    pub(super) fn kind(self) -> String {
        if self == Self::Denied {
            return QUOTA_EXCEEDED.to_owned();
        }
        format!("/openapi.json#/x-problems/{}", self.about().code)
    }

    /// What to say of it.
    pub(super) fn because(self, detail: impl Into<String>) -> Failure {
        Failure {
            problem: self,
            detail: detail.into(),
            retry_ms: None,
            header: None,
        }
    }
}

impl From<&WireError> for Problem {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::UnknownPolicy { .. } => Self::UnknownPolicy,
            WireError::KeyEmpty => Self::KeyEmpty,
            WireError::KeyTooLong { .. } => Self::KeyTooLong,
            WireError::CostAboveLimit { .. } => Self::CostAboveLimit,
            WireError::BatchTooLarge { .. } => Self::BatchTooLarge,
            WireError::Overloaded { .. } => Self::Overloaded,
            WireError::DeadlineExceeded => Self::DeadlineExceeded,
            WireError::StorageFailed => Self::StorageFailed,
            WireError::AnswerLost => Self::AnswerLost,
            WireError::Unavailable
            | WireError::NotOwner { .. }
            | WireError::VersionMismatch { .. } => Self::Unavailable,
            WireError::Malformed { .. }
            | WireError::RequestLimitsOff
            | WireError::BadRequestLimit { .. }
            | WireError::TooManyPolicies { .. }
            | WireError::TooManyReservations { .. }
            | WireError::UnknownReservation
            | WireError::RoleRefused { .. } => Self::BadRequest,
        }
    }
}

/// A problem as it happened.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: Problem,
    /// What happened, and what to do about it.
    pub(super) detail: String,
    /// When to come back.
    pub(super) retry_ms: Option<u64>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// With the methods that are allowed.
    pub(super) fn allow(self, methods: &'static str) -> Self {
        self.with(ALLOW, methods)
    }

    /// With what to show who it is by.
    pub(super) fn challenge(self) -> Self {
        self.with(WWW_AUTHENTICATE, "Bearer")
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// The response.
    pub(super) fn response(self) -> Response {
        let about = self.problem.about();
        let body = ProblemBody {
            kind: &self.problem.kind(),
            title: about.title,
            status: about.status.as_u16(),
            detail: &self.detail,
            code: about.code,
            violated_policies: &[],
            decision: None,
            answers: None,
        };
        let mut response = Response::new(Body::from(json(&body)));
        *response.status_mut() = about.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(ms) = self.retry_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(ms)));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        // The metrics count by it.
        response.extensions_mut().insert(self.problem);
        response
    }
}

impl From<&WireError> for Failure {
    fn from(error: &WireError) -> Self {
        let mut failure = Problem::from(error).because(error.to_string());
        failure.retry_ms = if let WireError::Overloaded { retry_ms } = error {
            Some(u64::from(*retry_ms))
        } else {
            (failure.problem == Problem::Unavailable).then_some(UNAVAILABLE_RETRY_MS)
        };
        failure
    }
}

/// JSON of what can always be written.
pub(super) fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec())
}
