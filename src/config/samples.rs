//! The samples in `config/` say what is true.

use std::path::Path;

use super::limits::parse_policies;
use super::node_file::{TABLES, read_node};
use super::source::Source;
use super::{NodeConfig, PolicyFile, RespConfig, render_policies};
use crate::limiter::policy::{OnFailure, Policy, PolicySet};

fn sample(name: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name);
    Source::read(&path).unwrap()
}

/// The sample with the keys that it shows in comments.
fn uncommented(name: &str) -> String {
    let is_key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    sample(name).text.lines().map(line).collect()
}

#[test]
fn the_node_sample_shows_every_key_at_its_default() {
    let text = uncommented("node.toml");
    let (checked, _) = read_node(&Source::new("node.toml", &text), None).unwrap();
    assert_eq!(checked.warnings, []);
    let mut config = checked.value;
    assert_eq!(config.certs_dir(), NodeConfig::default().certs_dir());
    config.certs = None;
    assert_eq!(config.advertised(), NodeConfig::default().advertised());
    config.cluster.advertise = None;
    (config.http.listen, config.http.token_file) = (None, None);
    config.log.otlp = None;
    let http = &mut config.http;
    (http.tls_cert, http.tls_key, http.tls_client_ca) = (None, None, None);
    // Off by default: the sample shows how it is switched on.
    config.resp = RespConfig::default();
    assert_eq!(config, NodeConfig::default());

    let (root, _) = toml::de::DeTable::parse_recoverable(&text);
    for (table, keys) in TABLES {
        for key in *keys {
            let in_top = root.get_ref().get(*key).is_some();
            let in_table = root
                .get_ref()
                .get(*table)
                .is_some_and(|it| it.get_ref().get(*key).is_some());
            assert!(
                if table.is_empty() { in_top } else { in_table },
                "[{table}] {key}"
            );
        }
    }
}

#[test]
fn the_limits_sample_has_no_warnings_and_shows_every_key_at_its_default() {
    let checked = parse_policies(&sample("limits.toml")).unwrap();
    assert_eq!(checked.warnings, []);
    let set = checked.value;
    let default = PolicySet::default();
    assert_eq!(set.max_policies, default.max_policies);
    assert_eq!(set.allow_request_limits, default.allow_request_limits);

    let api = set.policies["api"].clone();
    let mut plain = Policy::new(api.limits.clone());
    (plain.exact, plain.prefixes) = (api.exact.clone(), api.prefixes.clone());
    assert_eq!(api, plain);
    // The first policy shows all of a policy's keys as they would be written.
    let only_api = PolicySet {
        policies: [("api".to_owned(), api)].into(),
        ..default
    };
    let shown = sample("limits.toml").text;
    for line in render_policies(&only_api).lines() {
        assert!(shown.lines().any(|it| it == line), "{line}");
    }

    let login = set.policies["login"].limits.to_string();
    assert_eq!(login, "5/min, 20/hour");
    assert_eq!(set.policies["per-address"].on_failure, OnFailure::Allow);
    assert!(set.policies["search-trial"].shadow);
}

#[test]
fn a_written_sample_reads_the_same() {
    let set = parse_policies(&sample("limits.toml")).unwrap().value;
    let again = PolicyFile::parse("limits.toml", &render_policies(&set)).unwrap();
    assert_eq!(again.value, set);
}
