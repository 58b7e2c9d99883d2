use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::config::{Severity, render_policies};
use crate::limiter::policy::WINDOW_MS_MAX;

fn parse(text: &str) -> Result<Checked<PolicySet>, ConfigError> {
    parse_policies(&Source::new("f", text))
}

fn limits(text: &str) -> Limits {
    Limits::new(text.split(',').map(|text| text.parse().unwrap()).collect()).unwrap()
}

#[test]
fn a_file_says_what_each_policy_does() {
    let checked = parse(
        r#"
        max_policies = 7
        allow_request_limits = true
        policy.upload.limit = "1_000_000_000/day"
        [policy.api]
        limits = ["10/s", "1000/hour"]
        on_failure = "allow"
        durability = "fsync"
        shadow = true
        [policy.api.override]
        "key:partner-7" = "5000/min"
        "ip:10.*" = ["9/s", "9/min"]
        'five\*' = "5/s"
        "#,
    )
    .unwrap();
    let mut api = Policy::new(limits("10/s,1000/hour"));
    api.on_failure = OnFailure::Allow;
    api.durability = Durability::Fsync;
    api.shadow = true;
    api.exact.insert("key:partner-7".into(), limits("5000/min"));
    api.exact.insert("five*".into(), limits("5/s"));
    api.prefixes.insert("ip:10.".into(), limits("9/s,9/min"));
    let expected = PolicySet {
        policies: [
            ("api".to_owned(), api),
            ("upload".to_owned(), Policy::new(limits("1000000000/day"))),
        ]
        .into(),
        max_policies: 7,
        allow_request_limits: true,
        ..PolicySet::default()
    };
    assert_eq!(checked.value, expected);
    // Ten a second for the partners below 10., and nine a minute: the former never binds.
    assert_eq!(checked.warnings.len(), 1);
}

#[test]
fn an_empty_file_is_an_empty_set() {
    assert_eq!(parse("").unwrap().value, PolicySet::default());
}

/// `line:column: severity: message` and the hint of every diagnostic of a text.
fn told(text: &str) -> Vec<(String, Option<String>)> {
    let diagnostics = match parse(text) {
        Ok(checked) => checked.warnings,
        Err(error) => error.diagnostics().to_vec(),
    };
    diagnostics
        .into_iter()
        .map(|it| {
            let place = it.place.unwrap();
            let told = format!(
                "{}:{}: {}: {}",
                place.line, place.column, it.severity, it.message
            );
            (told, it.hint)
        })
        .collect()
}

type Told<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Each text is told exactly these diagnostics; an empty hint is none.
fn check(cases: &[Told<'_>]) {
    for (text, expected) in cases {
        let expected: Vec<_> = expected
            .iter()
            .map(|(told, hint)| {
                let hint = (!hint.is_empty()).then(|| (*hint).to_owned());
                ((*told).to_owned(), hint)
            })
            .collect();
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_toml_and_unknown_keys_are_told() {
    #[rustfmt::skip]
    check(&[
        // What is not TOML.
        ("[policy.a]\nlimit = \"1/s\nshadow = 1", &[
            ("2:13: error: invalid basic string, expected `\"`", ""),
            ("3:10: error: `shadow` must be true or false, not a whole number", ""),
        ]),
        ("[policy.a]\nlimit = \"1/s\"\nlimit = \"2/s\"", &[
            ("3:1: error: `limit` is there already", "keep one of the two"),
        ]),
        ("[policy.a]\nlimit = \"1/s\"\n[policy.a]\nshadow = true", &[
            ("3:9: error: `a` is there already", "keep one of the two"),
        ]),
        // Keys.
        ("polcy.a.limit = \"1/s\"", &[
            ("1:1: error: `polcy` is not a key at the top of this file", "did you mean `policy`?"),
        ]),
        ("limit = \"1/s\"", &[
            ("1:1: error: `limit` is not a key at the top of this file", "`limit` belongs in [policy.NAME]"),
        ]),
        ("[policy.a]\nlimit = \"1/s\"\nmax_policies = 3\non-failure = \"deny\"\ncolour = 1", &[
            ("3:1: error: `max_policies` is not a key in [policy.a]", "`max_policies` belongs at the top of this file"),
            ("4:1: error: `on-failure` is not a key in [policy.a]", "did you mean `on_failure`?"),
            ("5:1: error: `colour` is not a key in [policy.a]", "known are limit, limits, on_failure, durability, shadow, override"),
        ]),
    ]);
}

#[test]
fn wrong_types_and_words_are_told() {
    #[rustfmt::skip]
    check(&[
        // Types.
        ("max_policies = \"12\"\nallow_request_limits = \"true\"\npolicy = 3", &[
            ("1:16: error: `max_policies` must be a whole number, not a string", "write it without quotes"),
            ("2:24: error: `allow_request_limits` must be true or false, not a string", "write it without quotes"),
            ("3:10: error: `policy` must be a table, not a whole number", ""),
        ]),
        ("policy.a.limit = 100\npolicy.b.limit = [\"1/s\"]\npolicy.c.limits = \"1/s\"\npolicy.d.limits = [1]", &[
            ("1:18: error: `limit` must be a string, not a whole number", "write it in quotes"),
            ("2:18: error: `limit` must be a string, not an array", "several limits are written `limits = […]`"),
            ("3:19: error: `limits` must be an array of strings, not a string", "one limit is written `limit = \"…\"`"),
            ("4:20: error: `limits` must be an array of strings, not a whole number", "write it in quotes"),
        ]),
        ("max_policies = 0", &[("1:16: error: `max_policies` is 0; it must be from 1 to 65536", "")]),
        ("max_policies = -0x1_0", &[("1:16: error: integers with a radix cannot be signed, expected nothing", "")]),
        ("max_policies = 99999999999999999999", &[
            ("1:16: error: `max_policies` is 99999999999999999999; it must be from 1 to 65536", ""),
        ]),
        // Words.
        ("[policy.a]\nlimit = \"1/s\"\non_failure = \"alow\"\ndurability = \"disk\"", &[
            ("3:14: error: `on_failure` cannot be \"alow\"; it must be \"deny\" or \"allow\"", "did you mean `allow`?"),
            ("4:14: error: `durability` cannot be \"disk\"; it must be \"none\" or \"process\" or \"fsync\"", ""),
        ]),
    ]);
}

#[test]
fn bad_limits_are_told() {
    #[rustfmt::skip]
    check(&[
        // Limits.
        ("policy.a.limit = \"100/mim\"", &[
            ("1:23: error: `100/mim` is not a limit: `mim` is not a unit of time; known are ms, s, min, hour, day", "did you mean `min`?"),
        ]),
        ("policy.a.limit = \"0/min\"", &[
            ("1:19: error: `0/min` is not a limit: `0` is not a number of permits; write a whole number from 1 up", ""),
        ]),
        ("policy.a.limit = \"1/400d\"", &[
            ("1:21: error: `1/400d` is not a limit: the window `400d` is out of bounds; it must be from 1 ms to 366 days", ""),
        ]),
        ("policy.a.limit = \"100 per min\"", &[
            ("1:18: error: `100 per min` is not a limit; write permits/window, such as \"100/min\" or \"5/30s\"", ""),
        ]),
        ("policy.a.shadow = true", &[("1:8: error: [policy.a] has no limit", "add `limit = \"100/min\"`")]),
        ("[policy.a]\n\n[policy.a.override]\nk = \"1/s\"", &[
            ("1:1: error: [policy.a] has no limit", "add `limit = \"100/min\"`"),
        ]),
        ("[policy.a]\nlimit = \"1/s\"\nlimits = [\"2/x\"]", &[
            ("3:10: error: [policy.a] has both `limit` and `limits`", "put all limits into `limits`"),
            ("3:14: error: `2/x` is not a limit: `x` is not a unit of time; known are ms, s, min, hour, day", ""),
        ]),
        ("policy.a.limits = []", &[("1:19: error: `limits` has 0 limits; it must have 1 to 4", "")]),
        ("policy.a.limits = [\"1/s\", \"2/min\", \"3/hour\", \"4/day\", \"5/30d\"]", &[
            ("1:19: error: `limits` has 5 limits; it must have 1 to 4", ""),
        ]),
        ("policy.a.limits = [\"10/min\", \"20/min\"]", &[
            ("1:30: warning: `20/min` never denies anything, since `10/min` is always reached first", "leave it out, or check the numbers"),
        ]),
        ("policy.a.limits = [\"10/min\", \"10/60s\"]", &[
            ("1:30: warning: `10/min` is there twice", "leave it out, or check the numbers"),
        ]),
    ]);
}

#[test]
fn bad_names_and_overrides_are_told() {
    #[rustfmt::skip]
    check(&[
        // Names and numbers of policies.
        ("[policy.\"my api\"]\nlimit = \"1/s\"", &[
            ("1:9: error: `my api` cannot name a policy; use 1 to 64 ASCII letters, digits, `-`, `_`, `.`, `:`", ""),
        ]),
        ("max_policies = 1\npolicy.b.limit = \"1/s\"\npolicy.a.limit = \"1/s\"\npolicy.c.limit = \"1/s\"", &[
            ("3:8: error: `a` is one policy more than max_policies, 1", "raise max_policies at the top of this file"),
        ]),
        // Overrides.
        ("[policy.a]\nlimit = \"1/s\"\n[policy.a.override]\n\"\" = \"1/s\"\n\"*\" = \"2/s\"\nx = 3\ny = \"1/sek\"", &[
            ("4:1: error: `` cannot be overridden: the key is empty", ""),
            ("5:1: error: `*` cannot be overridden: `*` would replace the policy's own limits for every key", ""),
            ("6:5: error: `x` must be a limit or an array of limits, not a whole number", "write it in quotes"),
            ("7:8: error: `1/sek` is not a limit: `sek` is not a unit of time; known are ms, s, min, hour, day", "did you mean `sec`?"),
        ]),
    ]);
}

#[test]
fn a_key_too_long_for_a_request_cannot_be_overridden() {
    let text = format!(
        "[policy.a]\nlimit = \"1/s\"\noverride.{} = \"1/s\"",
        "k".repeat(257)
    );
    let expected = format!(
        "3:10: error: `{}…` cannot be overridden: the key has 257 bytes, at most 256 are allowed",
        "k".repeat(40)
    );
    assert_eq!(told(&text), [(expected, None)]);
}

#[test]
fn an_error_shows_its_line_and_a_hint() {
    let error = parse("[policy.api]\nlimit = \"100/mim\"\nshadow = 1\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "f:2:14: error: `100/mim` is not a limit: `mim` is not a unit of time; known are ms, s, \
         min, hour, day\n  \
           2 | limit = \"100/mim\"\n    \
             |              ^^^\n  \
           hint: did you mean `min`?\n\
         f:3:10: error: `shadow` must be true or false, not a whole number\n  \
           3 | shadow = 1\n    \
             |          ^"
    );
}

#[test]
fn a_file_full_of_mistakes_is_told_in_bounded_length() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..5000 {
        writeln!(text, "policy.p{n}.limit = \"x\"").unwrap();
    }
    let ConfigError::Invalid {
        diagnostics,
        left_out,
    } = parse(&text).unwrap_err()
    else {
        panic!("the file cannot be read");
    };
    assert!(diagnostics.len() <= 100);
    assert!(diagnostics.iter().all(|it| it.severity == Severity::Error));
    // One error for each limit, and one for the first policy beyond max_policies.
    assert_eq!(diagnostics.len() + left_out, 5001);
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let limit = (1..u64::MAX, 1..=WINDOW_MS_MAX)
        .prop_map(|(permits, window_ms)| Limit::new(permits, window_ms).unwrap());
    vec(limit, 1..=LIMITS_MAX).prop_map(|limits| Limits::new(limits).unwrap())
}

prop_compose! {
    fn any_policy()(
        limits in any_limits(),
        exact in btree_map("[^\u{0}]{1,8}|[ab\\\\*\"]{1,5}", any_limits(), 0..3),
        prefixes in btree_map("[ab\\\\*\"\n]{1,5}", any_limits(), 0..3),
        on_failure in prop::sample::select(vec![OnFailure::Deny, OnFailure::Allow]),
        durability in prop::sample::select(vec![Durability::None, Durability::Process, Durability::Fsync]),
        shadow: bool,
    ) -> Policy {
        Policy { limits, on_failure, durability, shadow, exact, prefixes }
    }
}

proptest! {
    #[test]
    fn a_set_reads_as_it_is_written(
        policies in btree_map("[a-zA-Z0-9_.:-]{1,10}", any_policy(), 0..4),
        max_policies in 4_usize..1000,
        allow_request_limits: bool,
    ) {
        let set = PolicySet { policies, max_policies, allow_request_limits, ..PolicySet::default() };
        let text = render_policies(&set);
        prop_assert_eq!(parse(&text).expect(&text).value, set);
    }

    #[test]
    fn any_text_is_answered(text in any_text()) {
        if let Err(error) = parse(&text) {
            let lines = text.split('\n').count();
            prop_assert!(!error.diagnostics().is_empty());
            for diagnostic in error.diagnostics() {
                let place = diagnostic.place.as_ref().unwrap();
                prop_assert!((1..=lines).contains(&place.line));
                let line = text.split('\n').nth(place.line - 1).unwrap();
                prop_assert!((1..=line.chars().count() + 1).contains(&place.column));
            }
        }
    }
}

/// Arbitrary text, and pieces of TOML in any order.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[policy.a]\n",
        "[policy.a.override]\n",
        "[[policy.a]]\n",
        "[policy]\n",
        "limit",
        "limits",
        "policy",
        "override",
        ".",
        " = ",
        "\"1/s\"",
        "\"",
        "'''",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "1",
        "-",
        "1979-05-27",
        "true",
        "\\",
        "#",
        "\"ä\\u00",
        "*",
        "\r",
        "\u{feff}",
        "é",
    ]);
    prop_oneof![
        ".{0,60}",
        vec(piece, 0..25).prop_map(|pieces| pieces.concat()),
    ]
}
