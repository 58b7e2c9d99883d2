use super::super::diagnostic::{Checked, ConfigError};
use super::super::node_file::read_node;
use super::super::overrides::NodeOverrides;
use super::super::source::Source;
use super::*;

/// The `place: message` of every mistake in this text.
fn mistakes(text: &str) -> Vec<String> {
    match read_node(&Source::new("f", text), None) {
        Ok((checked, _)) => told(&checked.warnings),
        Err(error) => told(error.diagnostics()),
    }
}

fn told(diagnostics: &[Diagnostic]) -> Vec<String> {
    let told = diagnostics.iter().map(|it| {
        let place = it.place.as_ref();
        let place = place.map_or_else(
            || it.file.clone(),
            |it| format!("{}:{}", it.line, it.column),
        );
        let hint = it.hint.as_deref().unwrap_or("-");
        format!("{place}: {} | {hint}", it.message)
    });
    told.collect()
}

#[test]
fn every_mistake_of_the_table_is_told_where_it_stands() {
    let form = "write it like \"limits-2.example:7400\" or \"10.0.0.2:7400\"";
    let cases = [
        ("[cluster]\njoin = [\"a:1\", \"b\", \"c:x\", 3]", vec![
            "2:16: `join` has \"b\" without a port | write \"b:7400\", if that is its port".to_owned(),
            format!("2:21: `join` cannot be \"c:x\"; it must be host:port | {form}"),
            "2:28: `join` must be an array of strings, not a whole number | write it in quotes".to_owned(),
        ]),
        ("[cluster]\njoin = \"a:1\"\nweight = 0", vec![
            "2:8: `join` must be an array of strings, not a string | one address is written `join = [\"…\"]`".to_owned(),
            "3:10: `weight` is 0; it must be from 1 to 16 | -".to_owned(),
        ]),
        ("join = [\"a:1\"]\n[cluster]\nwieght = 2", vec![
            "1:1: `join` is not a key at the top of this file | `join` belongs in [cluster]".to_owned(),
            "3:1: `wieght` is not a key in [cluster] | did you mean `weight`?".to_owned(),
        ]),
        ("[cluster]\nadvertise = \"0.0.0.0:7400\"\nhand_off_bytes_per_second = \"1KiB\"", vec![
            "2:13: \"0.0.0.0:7400\" in `advertise` leads nobody to a node | write the name or address that other machines know".to_owned(),
            "3:29: \"1KiB\" is out of bounds; `hand_off_bytes_per_second` must be from 64KiB to 16GiB | -".to_owned(),
        ]),
    ];
    for (text, expected) in cases {
        assert_eq!(mistakes(text), expected, "{text}");
    }
}

/// What is said of these overrides on an empty directory, or on one in use.
fn load(in_use: bool, set: impl FnOnce(&mut NodeOverrides)) -> Result<Vec<String>, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("certs")).unwrap();
    std::fs::write(dir.path().join("certs/ca.pem"), "").unwrap();
    if in_use {
        std::fs::create_dir_all(dir.path().join("db")).unwrap();
        std::fs::write(dir.path().join("db/CURRENT"), "").unwrap();
    }
    let mut overrides = NodeOverrides {
        data_dir: Some(dir.path().to_owned()),
        ..NodeOverrides::default()
    };
    set(&mut overrides);
    match NodeConfig::load(overrides) {
        Ok(Checked { warnings, .. }) => Ok(told(&warnings)),
        Err(ConfigError::Invalid { diagnostics, .. }) => Err(told(&diagnostics)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn create_and_join_exclude_each_other_unless_the_directory_is_in_use() {
    let both = |overrides: &mut NodeOverrides| {
        overrides.create = Some(true);
        overrides.join = Some(vec!["127.0.0.1:7401".into()]);
    };
    let said = "settings: `create` makes a new cluster and `join` enters one that is there | \
                the first node is started with --create, all others with --join";
    assert_eq!(load(false, both), Err(vec![said.to_owned()]));
    assert_eq!(load(true, both), Ok(vec![]));
}

#[test]
fn a_node_joins_others_and_not_itself() {
    for (listen, advertise, join, is_own) in [
        ("127.0.0.1:7400", None, &["127.0.0.1:7400"][..], true),
        ("127.0.0.1:7400", None, &["localhost:7400"], true),
        ("127.0.0.1:7400", None, &["127.0.0.1:7401"], false),
        (
            "127.0.0.1:7400",
            None,
            &["localhost:7400", "limits-2.example:7400"],
            false,
        ),
        (
            "0.0.0.0:7400",
            Some("a.example:7400"),
            &["a.example:7400"],
            true,
        ),
        (
            "0.0.0.0:7400",
            Some("a.example:7400"),
            &["localhost:7400"],
            true,
        ),
        (
            "0.0.0.0:7400",
            Some("a.example:7400"),
            &["b.example:7400"],
            false,
        ),
        (
            "10.0.0.1:7400",
            None,
            &["10.0.0.1:7400", "10.0.0.1:7400"],
            true,
        ),
        ("[::1]:7400", None, &["[::1]:7400"], true),
    ] {
        let result = load(false, |overrides| {
            overrides.listen = Some(listen.parse().unwrap());
            overrides.advertise = advertise.map(str::to_owned);
            overrides.join = Some(join.iter().map(|it| (*it).to_owned()).collect());
        });
        let said = result.as_ref().err().map(|said| said.join("\n"));
        let said = said.unwrap_or_default();
        assert_eq!(
            said.contains("names only this node itself"),
            is_own,
            "{join:?}: {result:?}"
        );
        assert_eq!(result.is_err(), is_own, "{join:?}: {result:?}");
    }
}

#[test]
fn who_joins_from_behind_an_address_of_nobody_must_advertise_one() {
    let joining = |advertise: Option<&str>| {
        load(false, |overrides| {
            overrides.listen = Some("0.0.0.0:7400".parse().unwrap());
            overrides.join = Some(vec!["b.example:7400".into()]);
            overrides.advertise = advertise.map(str::to_owned);
        })
    };
    let said = joining(None).unwrap_err();
    assert!(said[0].contains("`listen` is 0.0.0.0:7400"), "{said:?}");
    assert!(said[0].contains("--advertise HOST:PORT"), "{said:?}");
    assert_eq!(joining(Some("a.example:7400")), Ok(vec![]));
    // An address of this machine alone is none for a node on another one.
    let near = load(false, |overrides| {
        overrides.join = Some(vec!["10.0.0.2:7400".into()]);
    });
    let said = near.unwrap_err();
    assert!(
        said[0].contains("10.0.0.2:7400 could not reach this node at 127.0.0.1:7400"),
        "{said:?}"
    );
    let alone = load(false, |overrides| {
        overrides.listen = Some("0.0.0.0:7400".parse().unwrap());
        overrides.create = Some(true);
    });
    assert_eq!(alone, Ok(vec![]));
}

#[test]
fn flags_are_checked_as_keys_are() {
    let said = load(true, |overrides| {
        overrides.join = Some(vec!["limits-2".into()]);
        overrides.advertise = Some("[::]:7400".into());
        overrides.weight = Some(17);
    });
    let said = said.unwrap_err();
    assert_eq!(said.len(), 3, "{said:?}");
    for (said, expected) in said.iter().zip([
        "--join: `join` has \"limits-2\" without a port",
        "--advertise: \"[::]:7400\" in `advertise` leads nobody",
        "--weight: the weight is 17; it must be from 1 to 16",
    ]) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn what_is_advertised_is_what_is_listened_on_unless_that_is_nobodys() {
    for (listen, advertise, expected) in [
        ("10.0.0.1:7400", None, Some("10.0.0.1:7400")),
        ("127.0.0.1:0", None, Some("127.0.0.1:0")),
        ("0.0.0.0:7400", None, None),
        ("[::]:7400", None, None),
        ("[::]:7400", Some("a.example:1"), Some("a.example:1")),
    ] {
        let mut config = NodeConfig {
            listen: listen.parse().unwrap(),
            ..NodeConfig::default()
        };
        config.cluster.advertise = advertise.map(str::to_owned);
        assert_eq!(config.advertised().as_deref(), expected, "{listen}");
    }
}
