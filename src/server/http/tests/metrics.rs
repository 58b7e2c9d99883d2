//! The text of `/metrics`, by a reader of its own.

use std::collections::BTreeSet;

use super::*;

/// A family of metrics as it was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    kind: String,
    help: String,
    /// Name, labels, value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the text format of Prometheus, version 0.0.4, and asserts its rules.
pub(super) fn read(text: &str) -> BTreeMap<String, Read> {
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            let before = families.insert(
                current.clone(),
                Read {
                    help: help.to_owned(),
                    ..Read::default()
                },
            );
            assert!(before.is_none(), "{name} is there twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let family = families.get_mut(&current).unwrap();
            family.samples.push(sample(line));
        }
    }
    families
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = if value == "+Inf" {
        f64::INFINITY
    } else {
        value.parse().unwrap()
    };
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let labels = labels.strip_suffix('}').unwrap();
    let labels = labels.split(',').map(|label| {
        let (name, value) = label.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        (name.to_owned(), value.unwrap().to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

/// What `promtool check metrics` minds, as far as it goes for these.
fn mind_conventions(families: &BTreeMap<String, Read>) {
    for (name, family) in families {
        assert!(name.starts_with("ratelimit_"), "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{name}"
        );
        assert!(!family.help.is_empty(), "{name} has no help");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        for unit in [
            "_ms",
            "_us",
            "_milliseconds",
            "_kb",
            "_mb",
            "_percent",
            "_minutes",
        ] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
        for (sample, labels, value) in &family.samples {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|it| sample.strip_suffix(it));
            let of_family = sample == name || family.kind == "histogram" && base == Some(name);
            assert!(of_family, "{sample} in {name}");
            assert!(value.is_finite() && *value >= 0.0, "{sample} {value}");
            for label in labels.keys() {
                let known = [
                    "policy", "outcome", "reason", "kind", "class", "state", "version", "le",
                ];
                assert!(
                    known.contains(&label.as_str()),
                    "{sample} has a label {label}"
                );
            }
        }
        let series: BTreeSet<_> = family
            .samples
            .iter()
            .map(|it| format!("{} {:?}", it.0, it.1))
            .collect();
        assert_eq!(
            series.len(),
            family.samples.len(),
            "{name} has a series twice"
        );
    }
}

pub(super) fn value(families: &BTreeMap<String, Read>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("no {name}"));
    let labels: BTreeMap<_, _> = labels
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    let sample = family.samples.iter().find(|it| it.1 == labels);
    sample.unwrap_or_else(|| panic!("no {name} {labels:?}")).2
}

#[tokio::test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
async fn metrics_keep_the_format_and_its_conventions() {
    let site = Site::start().await;
    for path in [
        "/v1/check/free?key=a",
        "/v1/check/deny?key=a",
        "/v1/check/none?key=a",
        "/nothing",
    ] {
        site.ask(&plain(&format!("GET {path}"), &[])).await;
    }
    let reply = site.ask(&plain("GET /metrics", &[])).await;
    let kind = reply.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    let families = read(std::str::from_utf8(&reply.body).unwrap());
    mind_conventions(&families);
    let of = |name: &str, labels: &[(&str, &str)]| value(&families, name, labels);
    for (outcome, expected) in [
        ("allowed", 7.0),
        ("denied", 5.0),
        ("shadow_denied", 3.0),
        ("degraded", 2.0),
    ] {
        let labels = [("policy", "free"), ("outcome", outcome)];
        assert_eq!(of("ratelimit_checks_total", &labels), expected);
    }
    assert_eq!(of("ratelimit_commit_bytes_total", &[]), 1_099_511_627_776.0);
    assert_eq!(
        of("ratelimit_http_responses_total", &[("class", "2xx")]),
        1.0
    );
    assert_eq!(
        of("ratelimit_http_responses_total", &[("class", "4xx")]),
        3.0
    );
    assert_eq!(
        of("ratelimit_http_errors_total", &[("kind", "unknown-policy")]),
        1.0
    );
    assert_eq!(
        of("ratelimit_http_errors_total", &[("kind", "not-found")]),
        1.0
    );
    let durations = &families["ratelimit_http_check_duration_seconds"];
    let of_suffix = |suffix: &str| {
        let samples = durations.samples.iter();
        samples
            .filter(|it| it.0.ends_with(suffix))
            .map(|it| it.2)
            .collect::<Vec<_>>()
    };
    assert_eq!(of_suffix("_count"), [3.0]);
    let buckets = of_suffix("_bucket");
    assert!(
        buckets.is_sorted() && buckets.last() == Some(&3.0),
        "{buckets:?}"
    );
}

#[tokio::test]
#[expect(clippy::float_cmp, reason = "whole numbers, and sums told as they are")]
async fn it_is_told_why_requests_were_denied_and_how_long_commits_took() {
    let site = Site::start().await;
    let reply = site.ask(&plain("GET /metrics", &[])).await;
    let families = read(std::str::from_utf8(&reply.body).unwrap());
    let of = |name: &str, labels: &[(&str, &str)]| value(&families, name, labels);
    for (reason, expected) in [
        ("over_limit", 5.0),
        ("storage_failed", 2.0),
        ("quarantine", 8.0),
        ("no_majority", 32.0),
        ("owner_unreachable", 128.0),
    ] {
        let labels = [("policy", "free"), ("reason", reason)];
        assert_eq!(of("ratelimit_denials_total", &labels), expected);
    }
    for (outcome, expected) in [("allowed", 85.0), ("denied", 170.0)] {
        let labels = [("policy", "free"), ("outcome", outcome)];
        assert_eq!(of("ratelimit_degraded_answers_total", &labels), expected);
    }
    assert_eq!(of("ratelimit_dirty_keys", &[]), 77.0);
    for (name, count, sum) in [
        ("ratelimit_commit_duration_seconds", 2.0, 0.000_03),
        ("ratelimit_commit_write_duration_seconds", 3.0, 0.000_02),
        ("ratelimit_commit_sync_duration_seconds", 1.0, 4.0),
    ] {
        let samples = &families[name].samples;
        let told = |suffix: &str| samples.iter().find(|it| it.0.ends_with(suffix)).unwrap().2;
        assert_eq!((told("_count"), told("_sum")), (count, sum), "{name}");
    }
}

#[tokio::test]
async fn the_dashboard_names_only_metrics_that_there_are() {
    let site = Site::start().await;
    let reply = site.ask(&plain("GET /metrics", &[])).await;
    let families = read(std::str::from_utf8(&reply.body).unwrap());
    let dashboard = include_str!("../../../../config/grafana.json");
    let parsed: Value = serde_json::from_str(dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<_> = words
        .filter(|word| word.starts_with("ratelimit_"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for asked_for in [
        "ratelimit_commit_write_duration_seconds_bucket",
        "ratelimit_commit_sync_duration_seconds_bucket",
        "ratelimit_dirty_keys",
        "ratelimit_denials_total",
        "ratelimit_degraded_answers_total",
        "ratelimit_envoy_unknown_domain_requests_total",
    ] {
        assert!(named.contains(asked_for), "{asked_for} is not shown");
    }
    for name in named {
        let base = name
            .trim_end_matches("_bucket")
            .trim_end_matches("_sum")
            .trim_end_matches("_count");
        assert!(families.contains_key(base), "{name} is not a metric");
    }
}
