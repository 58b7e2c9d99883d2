//! The document of `/openapi.json`. A test holds it against what is really answered.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::answer::Telling;
use super::origin::Origin;
use super::problem::{Failure, PROBLEM_JSON, Problem};
use super::routes::{At, OPENAPI};
use crate::server::Service;

/// The part that does not depend on settings or tables.
const TEMPLATE: &str = include_str!("openapi.json");

/// `GET /openapi.json`.
pub(super) async fn document<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    OPENAPI.admit(request.method())?;
    let document = build(edge.rules.telling, &edge.rules.origin);
    let document = document.ok_or_else(|| Problem::Internal.because("the document is broken"))?;
    Ok(([(CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}

/// The template with the problems, the version, the status that denials have here, and whether keys
/// must be named.
pub(super) fn build(telling: Telling, origin: &Origin) -> Option<Value> {
    let text = TEMPLATE.replace(
        "\"429\":",
        &format!("\"{}\":", telling.deny_status.as_u16()),
    );
    let mut document: Value = serde_json::from_str(&text).ok()?;
    let problems = Problem::ALL.map(|problem| {
        let about = problem.about();
        let status = if problem == Problem::Denied {
            telling.deny_status
        } else {
            about.status
        };
        let told = json!({
            "title": about.title,
            "status": status.as_u16(),
            "type": problem.kind(),
        });
        (about.code.to_owned(), told)
    });
    if *origin == Origin::Nowhere {
        require_keys(&mut document)?;
    }
    let top = document.as_object_mut()?;
    top.insert(
        "x-problems".to_owned(),
        Value::Object(problems.into_iter().collect()),
    );
    top.get_mut("info")?["version"] = json!(env!("CARGO_PKG_VERSION"));
    let paths = top.get_mut("paths")?.as_object_mut()?;
    for path in paths.values_mut() {
        for operation in path.as_object_mut()?.values_mut() {
            fill_in(operation);
        }
    }
    Some(document)
}

/// Says that checks must name their key. The one whose key may be in the query or in the body is left
/// as it is, since that cannot be said.
fn require_keys(document: &mut Value) -> Option<()> {
    let one = document.pointer_mut("/paths/~1v1~1check~1{policy}/get/parameters")?;
    let mut parameters = one.as_array_mut()?.iter_mut();
    parameters.find(|it| it["name"] == "key")?["required"] = json!(true);
    let check = document.pointer_mut("/components/schemas/Check")?;
    check["required"] = json!(["policy", "key"]);
    check["properties"]["key"]["type"] = json!("string");
    Some(())
}

/// Gives each response that is only named, by the codes of its problems, its content.
fn fill_in(operation: &mut Value) {
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for response in responses.values_mut() {
        let Some(codes) = response.get("x-codes").cloned() else {
            continue;
        };
        *response = json!({
            "description": format!("Refused: {codes}"),
            "x-codes": codes,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
    }
}
