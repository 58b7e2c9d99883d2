//! The document of `/openapi.json` against the tables and against what is really answered.

use std::collections::BTreeSet;

use super::*;
use crate::server::http::answer::Telling;
use crate::server::http::openapi::build;
use crate::server::http::origin::Origin;
use crate::server::http::problem::Problem;
use crate::server::http::routes;

fn telling(status: u16) -> Telling {
    Telling {
        headers: HeaderStyle::Ietf,
        deny_status: http::StatusCode::from_u16(status).unwrap(),
    }
}

/// Operations as method and path.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[test]
fn it_lists_the_routes_and_methods_that_there_are() {
    let document = build(telling(429), &Origin::Nowhere).unwrap();
    let known = routes::ALL.iter().flat_map(|route| {
        let methods = route.methods.split(", ");
        methods.map(|method| (method.to_owned(), route.path.to_owned()))
    });
    assert_eq!(operations(&document), known.collect());
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn each_problem_leads_to_its_description_and_has_the_status_it_says() {
    let document = build(telling(403), &Origin::Nowhere).unwrap();
    let mut listed = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].is_string(),
                    "{method} {path} {status}"
                );
                for code in response["x-codes"].as_array().into_iter().flatten() {
                    let described = &document["x-problems"][code.as_str().unwrap()];
                    assert_eq!(
                        described["status"].to_string(),
                        *status,
                        "{method} {path} {code}"
                    );
                    listed.insert(code.as_str().unwrap().to_owned());
                }
            }
        }
    }
    for problem in Problem::ALL {
        let code = problem.about().code;
        if problem != Problem::Denied {
            let pointer = problem.kind().replace("/openapi.json#", "");
            let described = document.pointer(&pointer).unwrap();
            assert_eq!(described["title"], problem.about().title);
        }
        let everywhere = [
            Problem::Denied,
            Problem::NotFound,
            Problem::MethodNotAllowed,
            Problem::Internal,
        ];
        assert!(
            listed.contains(code) || everywhere.contains(&problem),
            "{code} is never told"
        );
    }
    assert!(document["paths"]["/v1/check/{policy}"]["get"]["responses"]["403"].is_object());
    assert!(
        document["paths"]["/v1/check/{policy}"]["get"]["responses"]
            .get("429")
            .is_none()
    );
}

#[test]
fn keys_must_be_named_unless_they_come_from_elsewhere() {
    let elsewhere = Origin::Address { trusted_proxies: 0 };
    for (origin, expected) in [(Origin::Nowhere, true), (elsewhere, false)] {
        let document = build(telling(429), &origin).unwrap();
        let parameters = &document["paths"]["/v1/check/{policy}"]["get"]["parameters"];
        let parameters = parameters.as_array().unwrap();
        let key = parameters.iter().find(|it| it["name"] == "key").unwrap();
        assert_eq!(key["required"], expected);
        let check = &document["components"]["schemas"]["Check"];
        let required = check["required"].as_array().unwrap();
        assert_eq!(required.contains(&Value::from("key")), expected);
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(target) = object.get("$ref") {
                    let pointer = target.as_str().unwrap().trim_start_matches('#');
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                object.values().for_each(|it| follow(it, document));
            }
            Value::Array(array) => array.iter().for_each(|it| follow(it, document)),
            _ => {}
        }
    }
    let document = build(telling(429), &Origin::Nowhere).unwrap();
    follow(&document, &document);
}

/// Asserts that a reply is what the document says of its operation.
fn expect_listed(document: &Value, (method, path): (&str, &str), reply: &Reply) {
    let operation = &document["paths"][path][method.to_lowercase()];
    let response = &operation["responses"][reply.status.to_string()];
    assert!(response.is_object(), "{method} {path} {}", reply.status);
    let kind = reply.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    match response.get("content") {
        Some(content) => assert!(content.get(kind).is_some(), "{method} {path} {kind}"),
        None => assert!(reply.body.is_empty(), "{method} {path}"),
    }
    if kind == "application/problem+json" && reply.status != 429 {
        let code = Value::String(reply.code());
        let codes = response["x-codes"].as_array().unwrap();
        assert!(codes.contains(&code), "{method} {path} {code}");
    }
}

#[tokio::test]
async fn what_is_answered_is_in_the_document() {
    let site = Site::start().await;
    let document = site.ask(&plain("GET /openapi.json", &[])).await.json();
    let shown = format!("Authorization: Bearer {TOKEN}");
    let shown = &[shown.as_str()][..];
    let (one, key) = ("/v1/check/{policy}", "/v1/keys/{policy}/{key}");
    for (path, start, headers) in [
        (one, "GET /v1/check/free?key=a", &[][..]),
        (one, "GET /v1/check/deny?key=a", &[]),
        (one, "GET /v1/check/free", &[]),
        (one, "GET /v1/check/%ff?key=a", &[]),
        (one, "GET /v1/check/none?key=a", &[]),
        (one, "POST /v1/check/free?key=a", &[]),
        ("/v1/check", "POST /v1/check", &[]),
        (key, "GET /v1/keys/free/a", &[]),
        (key, "GET /v1/keys/free/a", shown),
        (key, "GET /v1/keys/none/a", shown),
        (key, "GET /v1/keys/free/a?cost=a", shown),
        (key, "DELETE /v1/keys/free/a", &[]),
        (key, "DELETE /v1/keys/free/a", shown),
        ("/healthz", "GET /healthz", &[]),
        ("/healthz", "HEAD /healthz", &[]),
        ("/readyz", "GET /readyz", &[]),
        ("/metrics", "GET /metrics", &[]),
        ("/openapi.json", "GET /openapi.json", &[]),
        ("/", "GET /", &[]),
        ("/", "HEAD /", &[]),
        ("/v1/events", "HEAD /v1/events", &[]),
    ] {
        let method = start.split(' ').next().unwrap();
        let reply = site.ask(&plain(start, headers)).await;
        expect_listed(&document, (method, path), &reply);
    }
}
