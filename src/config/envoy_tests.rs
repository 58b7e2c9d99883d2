use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::{PolicyFile, render_policies};
use crate::limiter::policy::{Limit, Policy, PolicySet};

const POLICIES: &str = "[policy.login]\nlimit = \"5/min\"\n[policy.address]\nlimit = \"9/s\"\n";

fn parse(text: &str) -> Result<DescriptorRules, Vec<String>> {
    match PolicyFile::parse("f", &format!("{POLICIES}{text}")) {
        Ok(checked) => Ok(checked.value.descriptors),
        Err(error) => Err(error
            .diagnostics()
            .iter()
            .map(ToString::to_string)
            .collect()),
    }
}

#[test]
fn rules_say_what_holds_for_a_descriptor() {
    let rules = parse(
        r#"
        [[envoy]]
        domain = "edge"
        headers = "ietf"
        [[envoy.rule]]
        match = [{ key = "generic_key", value = "login" }, { key = "remote_address" }]
        policy = "login"
        key = "{remote_address}"
        [[envoy.rule]]
        match = [{ key = "path", value = "/api/*" }]
        policy = "address"
        [[envoy.rule]]
        match = [{ key = "path", value = "*" }]
        unlimited = true
        [[envoy.rule]]
        match = [{ key = "bot", value = 'yes\*' }]
        blocked = true
        [[envoy]]
        domain = "empty"
        "#,
    )
    .unwrap();
    let edge = rules.domain("edge").unwrap();
    assert_eq!(edge.headers(), HeaderStyle::Ietf);
    let held = |entries: &[(&str, &str)]| {
        let rule = edge.find(entries)?;
        let policy = match &rule.then {
            Then::Limit { policy, .. } => policy.as_str(),
            Then::Unlimited => "unlimited",
            Then::Blocked => "blocked",
        };
        Some((policy, rule.key(entries)))
    };
    let login = [("generic_key", "login"), ("remote_address", "1.2.3.4")];
    assert_eq!(held(&login), Some(("login", Some("1.2.3.4".into()))));
    let path = [("path", "/api/a")];
    assert_eq!(held(&path), Some(("address", Some("/api/a".into()))));
    assert_eq!(held(&[("path", "/")]), Some(("unlimited", None)));
    assert_eq!(held(&[("bot", "yes*")]), Some(("blocked", None)));
    assert_eq!(held(&[("bot", "yes")]), None);
    assert!(rules.domain("empty").unwrap().rules().is_empty());
    assert!(rules.domain("other").is_none());
}

/// Text behind the policies, and how each of its diagnostics begins and what else it holds.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

#[test]
fn every_mistake_is_told_at_its_place() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("[envoy]\ndomain = \"a\"", &[
            ("f:5:1: error: `envoy` must be tables written [[envoy]], not a table", ""),
        ]),
        ("[[envoy]]\nheaders = \"iet\"", &[
            ("f:5:1: error: [envoy] has no `domain`", "add `domain = \"…\"`"),
            ("f:6:11: error: `headers` cannot be \"iet\"", "did you mean `ietf`?"),
        ]),
        ("[[envoy]]\ndomain = \"\"\nrules = 1", &[
            ("f:6:10: error: `domain` is empty", ""),
            ("f:7:1: error: `rules` is not a key in [envoy]", "did you mean `rule`?"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy]]\ndomain = \"a\"", &[
            ("f:8:10: error: the domain `a` is there already", "one [[envoy]]"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"k\" }]\npolicy = \"logn\"", &[
            ("f:9:10: error: no policy is named `logn`", "did you mean `login`?"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"k\" }]", &[
            ("f:7:1: error: [envoy.rule] has no `policy`", "add `policy = \"…\"`"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"k\" }]\npolicy = \"login\"\nblocked = true", &[
            ("f:7:1: error: a rule has one of", ""),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ keys = \"k\" }, { key = \"\" }, { key = \"a\", value = 3 }]\nunlimited = true\nkey = \"x\"", &[
            ("f:8:10: error: [envoy.rule.match] has no `key`", ""),
            ("f:8:12: error: `keys` is not a key in [envoy.rule.match]", "did you mean `key`?"),
            ("f:8:34: error: `key` is empty", ""),
            ("f:8:61: error: `value` must be a string, not a whole number", "write it in quotes"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"remote_address\" }]\npolicy = \"login\"\nkey = \"x-{remote_adress}\"", &[
            ("f:10:11: error: `match` has no entry `remote_adress`", "did you mean `remote_address`?"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"a\" }]\npolicy = \"login\"\nkey = \"{a\"", &[
            ("f:10:7: error: a brace stands alone", ""),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"a\" }]\nblocked = true\nkey = \"{a}\"", &[
            ("f:10:7: error: `key` means nothing", ""),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = []\npolicy = \"login\"", &[
            ("f:8:9: error: `match` has 0 entries; it must have 1 to 32", ""),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = \"a\"\npolicy = \"login\"\n[[envoy.rule]]\npolicy = \"login\"", &[
            ("f:8:9: error: `match` must be an array of entries", ""),
            ("f:10:1: error: [envoy.rule] has no `match`", "add `match"),
        ]),
        ("[[envoy]]\ndomain = \"a\"\n[[envoy.rule]]\nmatch = [{ key = \"a\" }]\nunlimited = true\n[[envoy.rule]]\nmatch = [{ key = \"a\", value = \"*\" }]\nunlimited = true", &[
            ("f:11:9: error: an earlier rule of this domain matches the same entries", ""),
        ]),
    ];
    for (text, expected) in cases {
        let told = parse(text).expect_err(text);
        assert_eq!(told.len(), expected.len(), "{text}: {told:#?}");
        for (told, (begin, hint)) in told.iter().zip(*expected) {
            assert!(
                told.starts_with(begin) && told.contains(hint),
                "{text}: {told}"
            );
        }
    }
}

fn any_rule() -> impl Strategy<Value = DescriptorRule> {
    let value = prop_oneof![
        Just(ValueMatch::Any),
        "[a*\\\\\"\n]{1,4}".prop_map(ValueMatch::Exact),
        "[a*\\\\\"é]{1,4}".prop_map(ValueMatch::Prefix),
    ];
    let entry = ("[ab\"{\\\\]{1,3}", value).prop_map(|(key, value)| EntryMatch { key, value });
    let then = prop_oneof![
        Just(Then::Unlimited),
        Just(Then::Blocked),
        prop::option::of("[x\"é]{0,2}\\{\\{\\}\\}").prop_map(|key| Then::Limit {
            policy: "api".into(),
            key: key.map(|key| KeyTemplate::parse(&key).unwrap()),
        }),
    ];
    (vec(entry, 1..4), then).prop_map(|(entries, then)| DescriptorRule { entries, then })
}

proptest! {
    #[test]
    fn rules_read_as_they_are_written(
        domains in prop::collection::btree_map("[^\u{0}]{1,5}", vec(any_rule(), 0..5), 0..3),
        headers in prop::sample::select(HeaderStyle::ALL.to_vec()),
    ) {
        let mut set = PolicySet::default();
        let limit: Limit = "1/s".parse().unwrap();
        set.policies.insert("api".into(), Policy::new(limit));
        for (name, mut rules) in domains {
            let mut matched = BTreeSet::new();
            rules.retain(|rule| matched.insert(rule.entries.clone()));
            set.descriptors.insert(name, DomainRules::new(headers, rules));
        }
        let text = render_policies(&set);
        prop_assert_eq!(PolicyFile::parse("f", &text).expect(&text).value, set);
    }
}
