use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// `key`, `key=value` or `key=prefix*`, with blanks between the entries.
fn entries(text: &str) -> Vec<EntryMatch> {
    let entry = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, "*"));
        let value = match value.strip_suffix('*') {
            Some("") => ValueMatch::Any,
            Some(prefix) => ValueMatch::Prefix(prefix.to_owned()),
            None => ValueMatch::Exact(value.to_owned()),
        };
        let key = key.to_owned();
        EntryMatch { key, value }
    };
    text.split(' ').map(entry).collect()
}

fn rules(texts: &[&str]) -> DomainRules {
    let rule = |(n, text): (usize, &&str)| DescriptorRule {
        entries: entries(text),
        then: Then::Limit {
            policy: n.to_string(),
            key: None,
        },
    };
    let rules = texts.iter().enumerate().map(rule).collect();
    DomainRules::new(HeaderStyle::None, rules)
}

fn descriptor(text: &str) -> Vec<(&str, &str)> {
    let entries = text.split(' ').filter(|it| !it.is_empty());
    entries.map(|it| it.split_once('=').unwrap()).collect()
}

#[test]
fn the_most_exact_child_is_taken_at_each_level_and_there_is_no_way_back() {
    let domain = rules(&[
        "a", "a=1", "a=1 b", "a b=2", "p=x*", "p=xy*", "p=xyz", "c d e",
    ]);
    let cases = [
        ("a=0", Some(0)),
        ("a=1", Some(1)),
        ("a=1 b=7", Some(2)),
        ("a=9 b=2", Some(3)),
        // The first entry leads to `a=1`, which has no `b=2` but any `b`.
        ("a=1 b=2", Some(2)),
        ("a=9 b=3", None),
        ("p=xa", Some(4)),
        ("p=xya", Some(5)),
        ("p=xyz", Some(6)),
        ("p=y", None),
        // Too short and too long.
        ("c=1 d=2", None),
        ("c=1 d=2 e=3", Some(7)),
        ("c=1 d=2 e=3 f=4", None),
        ("", None),
        ("b=1 a=1", None),
    ];
    for (text, expected) in cases {
        let found = domain.find(&descriptor(text));
        let found = found.map(|it| domain.rules().iter().position(|rule| rule == it).unwrap());
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn keys_are_made_of_values() {
    let cases = [
        ("{ip}", "ip=10.0.0.1 path=/a", "10.0.0.1"),
        ("{path}@{ip}", "ip=1 path=/a", "/a@1"),
        ("{ip}{ip#2}", "ip=1 path=/a ip=2", "12"),
        ("fixed", "ip=1", "fixed"),
        ("{{{ip}}}", "ip=1", "{1}"),
        ("{ip}", "ip=", "\"\""),
        ("{ip#2}", "ip=1", "\"\""),
    ];
    for (template, text, expected) in cases {
        let template = KeyTemplate::parse(template).unwrap();
        assert_eq!(template.key(&descriptor(text)), expected, "{template:?}");
    }
    for bad in ["", "{", "}", "{}", "{a", "a}", "{a{b}}", "{a}}"] {
        assert!(KeyTemplate::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_template_tells_what_it_lacks() {
    let lacking = |text: &str| {
        let template = KeyTemplate::parse(text).unwrap();
        template.lacking(&["a", "b", "a"].into_iter())
    };
    assert_eq!(lacking("{a}{a#2}{b}x"), None);
    assert_eq!(lacking("{a}{b#2}{c}"), Some("b#2".to_owned()));
    assert_eq!(lacking("{c}"), Some("c".to_owned()));
}

proptest! {
    #[test]
    fn different_values_make_different_keys(
        one in vec(r"[a|\\]{0,3}", 1..4),
        other in vec(r"[a|\\]{0,3}", 1..4),
    ) {
        let key = |values: &[String]| joined(values.iter().map(String::as_str));
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    /// As envoyproxy/ratelimit does it: a map a level, looked up by `key_value`, by prefix, by key.
    #[test]
    fn rules_are_found_as_level_by_level_lookups_find_them(
        texts in vec("[ab](=[12]?[*1])?( [ab](=[12]?[*1])?){0,2}", 1..12),
        text in "[ab]=[12]{1,2}( [ab]=[12]{1,2}){0,2}",
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let domain = rules(&texts);
        let descriptor = descriptor(&text);
        let mut level: Vec<(usize, Vec<EntryMatch>)> =
            texts.iter().map(|text| entries(text)).enumerate().collect();
        for (key, value) in &descriptor {
            let rank = |entry: &EntryMatch| match &entry.value {
                _ if entry.key != *key => None,
                ValueMatch::Exact(it) if it == value => Some(100),
                ValueMatch::Prefix(it) if value.starts_with(it.as_str()) => Some(1 + it.len()),
                ValueMatch::Any => Some(0),
                ValueMatch::Exact(_) | ValueMatch::Prefix(_) => None,
            };
            let best = level.iter().filter_map(|(_, rest)| rest.first().and_then(rank)).max();
            level.retain_mut(|(_, rest)| {
                let fits = best.is_some() && rest.first().and_then(rank) == best;
                if fits { rest.remove(0); }
                fits
            });
        }
        let ends = level.into_iter().filter(|(_, rest)| rest.is_empty());
        let expected = ends.map(|(n, _)| n).next_back();
        let found = domain.find(&descriptor).map(|rule| match &rule.then {
            Then::Limit { policy, .. } => policy.parse().unwrap(),
            Then::Unlimited | Then::Blocked => usize::MAX,
        });
        prop_assert_eq!(found, expected, "{:?}", texts);
    }
}
