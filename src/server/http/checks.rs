//! Checks: one by its path, several by their body. Each is decided by itself.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;

use super::answer::Told;
use super::body;
use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::query::{Parameter, Parameters, Space, decode};
use super::routes::{At, CHECK_MANY, CHECK_ONE};
use crate::limiter::policy::Limits;
use crate::protocol::client::{Ask, BATCH_MAX, PolicyRef, Target};
use crate::protocol::error::WireError;
use crate::protocol::http::{CheckBody, ManyBody, OneBody};
use crate::server::{Decided, Mode, Service};
use crate::types::HeaderStyle;

/// Permits that a check asks for if it does not say.
pub(super) const COST: u64 = 1;

/// `GET` and `POST /v1/check/{policy}`.
pub(super) async fn one<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    CHECK_ONE.admit(request.method())?;
    let (parts, body) = request.into_parts();
    let rules = &edge.rules;
    let known = [Parameter::Key, Parameter::Cost, Parameter::TimeoutMs];
    let parameters = Parameters::read(parts.uri.query(), &known)?;
    let left = rules.left(&parameters, &parts.headers)?;
    let path = parts.uri.path();
    let policy = path.strip_prefix("/v1/check/").unwrap_or_default();
    let policy = decode(policy, Space::Percent20)?;
    let whole = match parts.method {
        Method::POST => rules.bodies.read(body, &rules.bounds).await?,
        // A proxy may pass on what is said of a body that it keeps for itself.
        _ => rules.bodies.none(),
    };
    let sent = if whole.bytes().is_empty() {
        OneBody::default()
    } else {
        body::expect_json(&parts.headers)?;
        body::parse(whole.bytes())?
    };
    let key = once("key", parameters.key, sent.key.map(Cow::into_owned))?;
    let cost = once("cost", parameters.cost, sent.cost)?;
    let key = rules.key(key, &parts)?;
    let ask = ask(&policy, &key, cost);
    let decision = edge.decide_one(&ask, Mode::Count, left).await?;
    let limits = edge.limits(&policy, &key, !decision.allowed);
    Ok(rules.telling.check(Told {
        policy: &policy,
        decision: &decision,
        limits: limits.as_ref(),
    }))
}

/// `POST /v1/check`.
pub(super) async fn many<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    CHECK_MANY.admit(request.method())?;
    let (parts, body) = request.into_parts();
    let rules = &edge.rules;
    let parameters = Parameters::read(parts.uri.query(), &[Parameter::TimeoutMs])?;
    let left = rules.left(&parameters, &parts.headers)?;
    body::expect_json(&parts.headers)?;
    let whole = rules.bodies.read(body, &rules.bounds).await?;
    let ManyBody { checks } = body::parse(whole.bytes())?;
    in_bounds(&checks)?;
    let unnamed = checks.iter().any(|check| check.key.is_none());
    let own_key = if unnamed {
        rules.key(None, &parts)?
    } else {
        String::new()
    };
    let asks = checks.iter().map(|check| {
        let key = check.key.as_deref().unwrap_or(&own_key);
        ask(&check.policy, key, check.cost)
    });
    let asks: Vec<_> = asks.collect();
    let decided = edge.decide(&asks, Mode::Count, left).await;
    let policies = checks.iter().map(|check| &*check.policy);
    let answers: Vec<(&str, Decided)> = policies.zip(decided).collect();
    Ok(rules.telling.checks(&answers))
}

fn in_bounds(checks: &[CheckBody<'_>]) -> Result<(), Failure> {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match checks.len() {
        0 => Err(Problem::BadRequest.because("`checks` is empty; send at least one")),
        1..=BATCH_MAX => Ok(()),
        items => Err(Failure::from(&WireError::BatchTooLarge {
            items: count(items),
            max: count(BATCH_MAX),
        })),
    }
}

/// What the query or the body says, but not both.
fn once<T>(name: &str, query: Option<T>, body: Option<T>) -> Result<Option<T>, Failure> {
    if query.is_some() && body.is_some() {
        let detail = format!("`{name}` is in the query and in the body; send it once");
        return Err(Problem::BadRequest.because(detail));
    }
    Ok(query.or(body))
}

/// The question of a check.
pub(super) fn ask<'a>(policy: &'a str, key: &'a str, cost: Option<u64>) -> Ask<'a> {
    Ask {
        target: Target {
            policy: PolicyRef::Named(policy),
            key,
        },
        cost: cost.unwrap_or(COST),
    }
}

impl<S: Service> Edge<S> {
    /// Has checks decided, and takes the time.
    async fn decide(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        left: std::time::Duration,
    ) -> Vec<Decided> {
        let began = self.desk.now();
        let decided = self.desk.decide(asks, mode, left).await;
        self.rules.counts.took(self.desk.now().since(began));
        decided
    }

    /// Has one check decided.
    pub(super) async fn decide_one(
        &self,
        ask: &Ask<'_>,
        mode: Mode,
        left: std::time::Duration,
    ) -> Result<crate::protocol::client::WireDecision, Failure> {
        let decided = self.decide(std::slice::from_ref(ask), mode, left).await;
        let decided = decided.into_iter().next();
        let decided = decided.unwrap_or(Err(WireError::Unavailable));
        decided.map_err(|error| Failure::from(&error))
    }

    /// The limits of a key, if the answer tells them: in its headers, or to who is `denied`.
    pub(super) fn limits(&self, policy: &str, key: &str, denied: bool) -> Option<Limits> {
        let told = match self.rules.telling.headers {
            HeaderStyle::Ietf | HeaderStyle::Both => true,
            HeaderStyle::XRateLimit | HeaderStyle::None => denied,
        };
        told.then(|| self.desk.limits(policy, key).ok()).flatten()
    }
}
