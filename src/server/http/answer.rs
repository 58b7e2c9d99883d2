//! Decisions as responses: status, body, and the headers that tell of limits.
//!
//! Whole seconds are rounded up: who waits as long as a header says has waited long enough.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Extensions, StatusCode};

use super::problem::{Failure, PROBLEM_JSON, Problem, json};
use crate::limiter::policy::{Limit, Limits};
use crate::protocol::client::{WireDecision, WireSource};
use crate::protocol::http::{AnswerBody, AnswersBody, DecisionBody, ErrorBody, ProblemBody};
use crate::server::Decided;
use crate::types::HeaderStyle;

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The largest integer of a structured field (RFC 9651).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// How decisions are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    pub(super) headers: HeaderStyle,
    /// The status of a denial.
    pub(super) deny_status: StatusCode,
}

/// A decision and what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) policy: &'a str,
    pub(super) decision: &'a WireDecision,
    /// The limits that hold for the key, if they are known.
    pub(super) limits: Option<&'a Limits>,
}

impl Telling {
    /// The response to one check.
    pub(super) fn check(self, told: Told<'_>) -> Response {
        let mut response = if told.decision.allowed {
            Response::new(Body::from(json(&told.body())))
        } else {
            self.denial(told)
        };
        if told.decision.allowed {
            put_json(response.headers_mut(), "application/json");
        }
        self.put_limits(response.headers_mut(), told);
        response
    }

    /// The response to a look at a key: whether the next check would pass is no denial.
    pub(super) fn peek(self, told: Told<'_>) -> Response {
        let mut response = Response::new(Body::from(json(&told.body())));
        put_json(response.headers_mut(), "application/json");
        self.put_limits(response.headers_mut(), told);
        response
    }

    /// The response to several checks: 200 if all passed; else the first error's status, or that of
    /// a denial.
    pub(super) fn checks(self, answers: &[(&str, Decided)]) -> Response {
        let failed = answers
            .iter()
            .find_map(|(_, decided)| decided.as_ref().err());
        let denied: Vec<_> = answers
            .iter()
            .filter_map(|(policy, decided)| Some((*policy, decided.as_ref().ok()?)))
            .filter(|(_, decision)| !decision.allowed)
            .collect();
        let body = AnswersBody {
            answers: answers.iter().map(answer_body).collect(),
        };
        let mut violated: Vec<_> = denied.iter().map(|(policy, _)| *policy).collect();
        violated.sort_unstable();
        violated.dedup();
        let waits = denied.iter().map(|(_, decision)| decision.retry_after_ms);
        let wait_ms = waits.max();
        if let Some(error) = failed {
            let failure = Failure::from(error);
            let status = failure.problem.about().status;
            let retry_ms = failure.retry_ms.max(wait_ms);
            return Whole {
                problem: failure.problem,
                status,
                retry_ms,
            }
            .response(&failure.detail, &violated, Some(body));
        }
        if let Some(wait_ms) = wait_ms {
            let detail = format!(
                "{} of {} checks were denied; come back in {} s",
                denied.len(),
                answers.len(),
                seconds_up(wait_ms),
            );
            return Whole {
                problem: Problem::Denied,
                status: self.deny_status,
                retry_ms: Some(wait_ms),
            }
            .response(&detail, &violated, Some(body));
        }
        let mut response = Response::new(Body::from(json(&body)));
        put_json(response.headers_mut(), "application/json");
        response
    }

    fn denial(self, told: Told<'_>) -> Response {
        let wait_ms = told.decision.retry_after_ms;
        let detail = if told.decision.source == WireSource::Degraded {
            format!(
                "the counts of this key cannot be used now, and policy `{}` denies then; come back in {} s",
                told.policy,
                seconds_up(wait_ms),
            )
        } else {
            format!(
                "policy `{}` allows {}; come back in {} s",
                told.policy,
                told.limits
                    .map_or_else(|| told.decision.limit.to_string(), ToString::to_string),
                seconds_up(wait_ms),
            )
        };
        let about = Problem::Denied.about();
        let body = ProblemBody {
            kind: &Problem::Denied.kind(),
            title: about.title,
            status: self.deny_status.as_u16(),
            detail: &detail,
            code: about.code,
            violated_policies: &[told.policy],
            decision: Some(told.body()),
            answers: None,
        };
        let mut response = Response::new(Body::from(json(&body)));
        *response.status_mut() = self.deny_status;
        let headers = response.headers_mut();
        put_json(headers, PROBLEM_JSON);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(wait_ms)));
        response
    }

    fn put_limits(self, headers: &mut HeaderMap, told: Told<'_>) {
        // Without the counts nothing is known of what is left.
        let known = told.decision.source != WireSource::Degraded;
        if self.headers.has_ietf() {
            if let Some(limits) = told.limits {
                put(
                    headers,
                    RATELIMIT_POLICY,
                    &policy_items(told.policy, limits),
                );
            }
            if known {
                put(headers, RATELIMIT, &told.left_item());
            }
        }
        if self.headers.has_x() {
            headers.insert(X_LIMIT, HeaderValue::from(told.decision.limit));
            if known {
                let reset = seconds_up(told.decision.reset_after_ms);
                headers.insert(X_REMAINING, HeaderValue::from(told.decision.remaining));
                headers.insert(X_RESET, HeaderValue::from(reset));
            }
        }
    }
}

impl<'a> Told<'a> {
    fn body(self) -> DecisionBody<'a> {
        DecisionBody::new(self.policy, self.decision)
    }

    /// What is left of the limit that decided, as `"name";r=50;t=30`.
    fn left_item(self) -> String {
        let limit = self.limits.and_then(|limits| {
            let same = limits.as_slice().iter();
            let same = same.filter(|limit| limit.permits() == self.decision.limit);
            // Of two with as many permits, the longer window holds them longer.
            same.max_by_key(|limit| limit.window_ms())
        });
        let name = match (self.limits, limit) {
            (Some(limits), Some(limit)) => item_name(self.policy, limits, *limit),
            (Some(_) | None, _) => self.policy.to_owned(),
        };
        let left = self.decision.remaining.min(INTEGER_MAX);
        let reset = seconds_up(self.decision.reset_after_ms);
        format!("\"{name}\";r={left};t={reset}")
    }
}

/// The limits of a policy, as `"name";q=100;w=60`, one item each. A window that is no whole number of
/// seconds is left out.
fn policy_items(policy: &str, limits: &Limits) -> String {
    let item = |limit: &Limit| {
        let name = item_name(policy, limits, *limit);
        let permits = limit.permits().min(INTEGER_MAX);
        if limit.window_ms().is_multiple_of(1000) {
            format!("\"{name}\";q={permits};w={}", limit.window_ms() / 1000)
        } else {
            format!("\"{name}\";q={permits}")
        }
    };
    let items: Vec<_> = limits.as_slice().iter().map(item).collect();
    items.join(", ")
}

/// The policy's name; with the limit where it has several. Both are plain ASCII without quotes.
fn item_name(policy: &str, limits: &Limits, limit: Limit) -> String {
    if limits.as_slice().len() == 1 {
        policy.to_owned()
    } else {
        format!("{policy}:{limit}")
    }
}

/// A problem that has answers with it.
struct Whole {
    problem: Problem,
    status: StatusCode,
    retry_ms: Option<u64>,
}

impl Whole {
    fn response(
        self,
        detail: &str,
        violated: &[&str],
        answers: Option<AnswersBody<'_>>,
    ) -> Response {
        let about = self.problem.about();
        let body = ProblemBody {
            kind: &self.problem.kind(),
            title: about.title,
            status: self.status.as_u16(),
            detail,
            code: about.code,
            violated_policies: violated,
            decision: None,
            answers,
        };
        let mut response = Response::new(Body::from(json(&body)));
        *response.status_mut() = self.status;
        put_json(response.headers_mut(), PROBLEM_JSON);
        if let Some(ms) = self.retry_ms {
            let retry = HeaderValue::from(seconds_up(ms));
            response.headers_mut().insert(RETRY_AFTER, retry);
        }
        mark(response.extensions_mut(), self.problem);
        response
    }
}

fn answer_body<'a>((policy, decided): &'a (&str, Decided)) -> AnswerBody<'a> {
    match decided {
        Ok(decision) => AnswerBody::Decided(DecisionBody::new(policy, decision)),
        Err(error) => {
            let about = Problem::from(error).about();
            AnswerBody::Failed {
                policy,
                error: ErrorBody {
                    code: about.code,
                    status: about.status.as_u16(),
                    detail: error.to_string(),
                },
            }
        }
    }
}

/// Notes for the metrics what went wrong; a denial is nothing that did.
fn mark(extensions: &mut Extensions, problem: Problem) {
    if problem != Problem::Denied {
        extensions.insert(problem);
    }
}

/// An answer is of its moment: nobody may keep it for somebody else.
fn put_json(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Names of policies are plain ASCII, so this cannot fail; without the header nothing is wrong.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up.
pub(super) const fn seconds_up(ms: u64) -> u64 {
    ms.div_ceil(1000)
}
