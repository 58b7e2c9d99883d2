//! Single keys, for who operates the node: a look, and forgetting its counts.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{Method, StatusCode};

use super::answer::Told;
use super::checks::ask;
use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::query::{Parameter, Parameters, Space, decode};
use super::routes::{At, KEY};
use crate::protocol::client::{PolicyRef, RequestBody, ResponseBody, Target};
use crate::server::{Mode, Service};

/// `GET` and `DELETE /v1/keys/{policy}/{key}`.
pub(super) async fn key<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    KEY.admit(request.method())?;
    let (parts, _body) = request.into_parts();
    edge.rules.bearer.admit(&parts.headers)?;
    let path = parts.uri.path();
    let names = path.strip_prefix("/v1/keys/").unwrap_or_default();
    let (policy, key) = names.split_once('/').unwrap_or((names, ""));
    let policy = decode(policy, Space::Percent20)?;
    let key = decode(key, Space::Percent20)?;
    if parts.method == Method::DELETE {
        return reset(&edge, &parts, &policy, &key).await;
    }
    let known = [Parameter::Cost, Parameter::TimeoutMs];
    let parameters = Parameters::read(parts.uri.query(), &known)?;
    let left = edge.rules.left(&parameters, &parts.headers)?;
    let ask = ask(&policy, &key, parameters.cost);
    let decision = edge.decide_one(&ask, Mode::Look, left).await?;
    let limits = edge.limits(&policy, &key, false);
    Ok(edge.rules.telling.peek(Told {
        policy: &policy,
        decision: &decision,
        limits: limits.as_ref(),
    }))
}

async fn reset<S: Service>(
    edge: &Edge<S>,
    parts: &Parts,
    policy: &str,
    key: &str,
) -> Result<Response, Failure> {
    let parameters = Parameters::read(parts.uri.query(), &[Parameter::TimeoutMs])?;
    let left = edge.rules.left(&parameters, &parts.headers)?;
    let target = Target {
        policy: PolicyRef::Named(policy),
        key,
    };
    match edge
        .desk
        .command(&RequestBody::Reset { target }, left)
        .await
    {
        ResponseBody::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        ResponseBody::Failed(error) => Err(Failure::from(&error)),
        ResponseBody::Decisions(_)
        | ResponseBody::Refunded { .. }
        | ResponseBody::Reserved { .. }
        | ResponseBody::Routes(_)
        | ResponseBody::ReplicaRoutes(_) => {
            Err(Problem::Internal.because("the node answered something else"))
        }
    }
}
