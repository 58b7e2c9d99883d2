//! What is said over HTTP, as JSON. The names are part of the interface; `/openapi.json` describes
//! them, and a test holds the two together.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::client::{WireDecision, WireSource};
use super::object::objects;

/// The body of a check of one policy; what is missing may be in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneBody<'a> {
    /// The key that is limited.
    #[serde(borrow, default)]
    pub(crate) key: Option<Cow<'a, str>>,
    /// Permits asked for.
    #[serde(default)]
    pub(crate) cost: Option<u64>,
}

/// The body of several checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyBody<'a> {
    /// Each is decided by itself.
    #[serde(borrow, deserialize_with = "objects")]
    pub(crate) checks: Vec<CheckBody<'a>>,
}

/// One of several checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody<'a> {
    /// Name of the policy.
    #[serde(borrow)]
    pub(crate) policy: Cow<'a, str>,
    /// The key that is limited.
    #[serde(borrow, default)]
    pub(crate) key: Option<Cow<'a, str>>,
    /// Permits asked for; one if it is not said.
    #[serde(default)]
    pub(crate) cost: Option<u64>,
}

/// A decision.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionBody<'a> {
    policy: &'a str,
    allowed: bool,
    limit: u64,
    remaining: u64,
    reset_after_ms: u64,
    retry_after_ms: u64,
    source: &'static str,
    shadow_denied: bool,
}

impl<'a> DecisionBody<'a> {
    /// The decision on a check of `policy`.
    pub(crate) const fn new(policy: &'a str, decision: &WireDecision) -> Self {
        Self {
            policy,
            allowed: decision.allowed,
            limit: decision.limit,
            remaining: decision.remaining,
            reset_after_ms: decision.reset_after_ms,
            retry_after_ms: decision.retry_after_ms,
            source: source(decision.source),
            shadow_denied: decision.shadow_denied,
        }
    }
}

/// Who answered.
pub(crate) const fn source(source: WireSource) -> &'static str {
    match source {
        WireSource::Owner => "owner",
        WireSource::Proxied => "proxied",
        WireSource::Cached => "cached",
        WireSource::Degraded => "degraded",
    }
}

/// The answer to one of several checks.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum AnswerBody<'a> {
    /// It was decided.
    Decided(DecisionBody<'a>),
    /// It was not.
    Failed {
        /// The policy as sent.
        policy: &'a str,
        /// Why.
        error: ErrorBody,
    },
}

/// Why one of several checks was not decided.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    /// Name of the problem.
    pub(crate) code: &'static str,
    /// The status that it would have alone.
    pub(crate) status: u16,
    /// What happened, in a sentence.
    pub(crate) detail: String,
}

/// The answers to several checks, in the order asked.
#[derive(Debug, Serialize)]
pub(crate) struct AnswersBody<'a> {
    /// One for each.
    pub(crate) answers: Vec<AnswerBody<'a>>,
}

/// What is wrong, as RFC 9457 has it.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemBody<'a> {
    /// Where the problem is described.
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    /// The same in words.
    pub(crate) title: &'a str,
    /// The status of the response.
    pub(crate) status: u16,
    /// What happened this time, and what to do about it.
    pub(crate) detail: &'a str,
    /// Name of the problem, for programs.
    pub(crate) code: &'a str,
    /// After a denial: the policies that denied.
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) violated_policies: &'a [&'a str],
    /// After a denial: the decision.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<DecisionBody<'a>>,
    /// Of several checks: all answers.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<AnswersBody<'a>>,
}
