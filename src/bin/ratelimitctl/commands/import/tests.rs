//! What is printed reads as a set with the expected rules, and what is lost is told with its line.

use distributed_rate_limiter::config::PolicyFile;
use distributed_rate_limiter::limiter::descriptors::Then;
use distributed_rate_limiter::limiter::policy::PolicySet;

use super::command::{Shown, imported};
use super::draft::Draft;
use super::yaml::Node;
use super::{envoy, limitador};

type Import = fn(&Node<'_>, &mut Draft);

fn import(text: &str, import: Import) -> (PolicySet, Vec<(usize, String)>) {
    let Shown { limits, notes } = imported(text, import).unwrap();
    let set = PolicyFile::parse("limits.toml", &limits)
        .expect(&limits)
        .value;
    let notes = notes.into_iter().map(|note| (note.line, note.message));
    (set, notes.collect())
}

/// What a descriptor is held to: the policy's limits and the key, or `unlimited`, `blocked`, `none`.
fn held(set: &PolicySet, domain: &str, text: &str) -> String {
    let entries: Vec<_> = text
        .split(' ')
        .map(|it| it.split_once('=').unwrap())
        .collect();
    let Some(rule) = set
        .descriptors
        .domain(domain)
        .and_then(|rules| rules.find(&entries))
    else {
        return "none".to_owned();
    };
    match &rule.then {
        Then::Unlimited => "unlimited".to_owned(),
        Then::Blocked => "blocked".to_owned(),
        Then::Limit { policy, .. } => {
            let policy = &set.policies[policy];
            let shadow = if policy.shadow { " shadow" } else { "" };
            format!(
                "{}{shadow} by {}",
                policy.limits,
                rule.key(&entries).unwrap()
            )
        }
    }
}

const ENVOY: &str = r"---
domain: edge
descriptors:
  - key: generic_key
    value: login
    detailed_metric: true
    descriptors:
      - key: remote_address
        rate_limit: { unit: minute, requests_per_unit: 5 }
      - key: remote_address
        value: 10.0.0.1
  - key: path
    value: /api/*
    share_threshold: true
    rate_limit:
      unit: HOUR
      requests_per_unit: 1000
      replaces:
        - name: other
  - key: path
    shadow_mode: yes
    rate_limit:
      name: other
      unit: second
      requests_per_unit: 10
  - key: path
    value: /static
    rate_limit:
      unlimited: true
  - key: code
    value: 007
    rate_limit: { unit: week, requests_per_unit: 3 }
  - key: banned
    rate_limit: { unit: day, requests_per_unit: 0 }
  - key: bad
    rate_limit: { unit: fortnight, requests_per_unit: 1 }
  - key: path
    rate_limit: { unit: day, requests_per_unit: 1 }
  - value: keyless
    colour: red
---
domain: other
descriptors:
  - key: a
    rate_limit: { unit: month, requests_per_unit: 100 }
    descriptors:
      - { key: a, rate_limit: { unit: year, requests_per_unit: 7 } }
";

#[test]
fn a_file_of_envoys_own_service_is_carried_over() {
    let (set, notes) = import(ENVOY, envoy::import);
    let cases = [
        ("generic_key=login remote_address=1", "5/min by login|1"),
        ("generic_key=login remote_address=10.0.0.1", "unlimited"),
        ("generic_key=login", "none"),
        ("path=/api/users", "1000/hour by /api/*"),
        ("path=/", "10/s shadow by /"),
        ("path=/static", "unlimited"),
        ("code=007", "3/7day by 007"),
        ("code=7", "none"),
        ("banned=1", "blocked"),
        ("bad=1", "none"),
    ];
    for (text, expected) in cases {
        assert_eq!(held(&set, "edge", text), expected, "{text}");
    }
    assert_eq!(held(&set, "other", "a=1"), "100/30day by 1");
    assert_eq!(held(&set, "other", "a=1 a=2"), "7/365day by 1|2");
    let told: Vec<(usize, &str)> = notes
        .iter()
        .map(|(line, text)| (*line, text.split(':').next().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (6, "`detailed_metric` is not carried over"),
            (18, "`replaces` is not carried over"),
            (36, "not carried over"),
            (37, "not carried over"),
            (39, "not carried over"),
            (40, "`colour` is not carried over"),
        ]
    );
    assert!(
        set.policies
            .contains_key("edge.generic_key:login.remote_address")
    );
}

const LIMITADOR: &str = r#"
- namespace: shop
  max_value: 10
  seconds: 60
  conditions:
    - "descriptors[0].req_method == 'POST'"
  variables:
    - descriptors[0].user_id
- namespace: shop
  max_value: 100
  seconds: 3600
  conditions: ["descriptors[0]['req_method'] == \"POST\""]
  variables: ["descriptors[0].user_id"]
- namespace: shop
  max_value: 5
  seconds: 1
  conditions:
    - descriptors[0].path.startsWith('/api')
  variables:
- namespace: shop
  max_value: 0
  seconds: 1
  name: nobody
  conditions:
    - banned == yes
- namespace: shop
  max_value: 1000000
  seconds: 60
  conditions:
  variables:
- namespace: shop
  max_value: 1
  seconds: 60
  conditions: ["descriptors[0].a == '1' || descriptors[0].b == '2'"]
- max_value: 1
"#;

#[test]
fn a_file_of_limitador_is_carried_over() {
    let (set, notes) = import(LIMITADOR, limitador::import);
    let cases = [
        ("req_method=POST user_id=7", "10/min, 100/hour by POST|7"),
        ("req_method=GET user_id=7", "none"),
        ("path=/api/x", "5/s by /api/x"),
        ("banned=yes", "blocked"),
    ];
    for (text, expected) in cases {
        assert_eq!(held(&set, "shop", text), expected, "{text}");
    }
    let lines: Vec<usize> = notes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 14, 20, 26, 31, 34, 35], "{notes:#?}");
    assert!(
        notes[0].1.ends_with("req_method=POST, user_id"),
        "{}",
        notes[0].1
    );
    assert!(
        notes[5].1.starts_with("cannot be said in a rule"),
        "{}",
        notes[5].1
    );
}

#[test]
fn what_is_no_such_file_is_told_and_does_no_harm() {
    for import in [envoy::import as Import, limitador::import] {
        assert!(imported("a: [", import).is_err());
        assert!(imported("a: 1\na: 2", import).is_err());
        for text in [
            "",
            "3",
            "- 3",
            "a: {b: c}",
            "domain: x\ndescriptors: 3",
            "- namespace: [a]",
        ] {
            let shown = imported(text, import).unwrap();
            PolicyFile::parse("limits.toml", &shown.limits).unwrap();
        }
    }
    let deep = format!(
        "domain: d\ndescriptors: {}1{}",
        "[{key: k, descriptors: ".repeat(60),
        "}]".repeat(60)
    );
    let shown = imported(&deep, envoy::import).unwrap();
    assert!(
        shown.notes[0].message.contains("more than 32 entries"),
        "{:?}",
        shown.notes
    );
}
