//! Limits as people write them, and which of them hold.

use super::*;

#[test]
fn limits_read_as_people_write_them() {
    let cases = [
        ("100/min", 100, 60_000, "100/min"),
        ("1000/hour", 1000, 3_600_000, "1000/hour"),
        ("1_000 / h", 1000, 3_600_000, "1000/hour"),
        ("5/30s", 5, 30_000, "5/30s"),
        ("5/90s", 5, 90_000, "5/90s"),
        ("1/60s", 1, 60_000, "1/min"),
        ("7/1500ms", 7, 1500, "7/1500ms"),
        (
            "18446744073709551615/day",
            u64::MAX,
            86_400_000,
            "18446744073709551615/day",
        ),
    ];
    for (text, permits, window_ms, shown) in cases {
        let limit: Limit = text.parse().unwrap();
        assert_eq!(
            (limit.permits(), limit.window_ms()),
            (permits, window_ms),
            "{text}"
        );
        assert_eq!(limit.to_string(), shown);
        assert_eq!(shown.parse::<Limit>().unwrap(), limit);
    }
}

#[test]
fn what_is_no_limit_says_why() {
    type Expected = fn(&LimitError) -> bool;
    let cases: &[(&str, Expected)] = &[
        ("100", |e| matches!(e, LimitError::Form { .. })),
        ("", |e| matches!(e, LimitError::Form { .. })),
        ("0/min", |e| matches!(e, LimitError::Permits { .. })),
        ("-1/min", |e| matches!(e, LimitError::Permits { .. })),
        ("18446744073709551616/min", |e| {
            matches!(e, LimitError::Permits { .. })
        }),
        ("10/fortnight", |e| matches!(e, LimitError::Unit { .. })),
        ("10/0s", |e| matches!(e, LimitError::Window { .. })),
        ("10/367d", |e| matches!(e, LimitError::Window { .. })),
        ("10/99999999999999999999s", |e| {
            matches!(e, LimitError::Window { .. })
        }),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Limit>().unwrap_err();
        assert!(expected(&error), "{text}: {error:?}");
    }
}

#[test]
fn the_whole_key_beats_the_longest_prefix_beats_the_policy() {
    let limits = |text: &str| Limits::from(text.parse::<Limit>().unwrap());
    let mut policy = Policy::new(limits("1/s"));
    policy.prefixes.insert("ip:".into(), limits("2/s"));
    policy.prefixes.insert("ip:10.".into(), limits("3/s"));
    policy.exact.insert("ip:10.0.0.1".into(), limits("4/s"));
    for (key, expected) in [
        ("user", "1/s"),
        ("ip:1", "2/s"),
        ("ip:10.0.0.2", "3/s"),
        ("ip:10.0.0.1", "4/s"),
    ] {
        assert_eq!(policy.limits_for(key).to_string(), expected, "{key}");
    }
}
