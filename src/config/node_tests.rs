use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::Password;

/// A directory with a `node.toml` of this text.
fn dir_with(text: &str) -> (TempDir, NodeOverrides) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let overrides = NodeOverrides {
        config: Some(path),
        ..NodeOverrides::default()
    };
    (dir, overrides)
}

/// `place: severity: message` and the hint of every diagnostic.
fn told(result: Result<Checked<NodeConfig>, ConfigError>) -> Vec<(String, Option<String>)> {
    let diagnostics = match result {
        Ok(checked) => checked.warnings,
        Err(error) => error.diagnostics().to_vec(),
    };
    let told = |it: Diagnostic| {
        let place = it
            .place
            .map_or(it.file, |place| format!("{}:{}", place.line, place.column));
        (format!("{place}: {}: {}", it.severity, it.message), it.hint)
    };
    diagnostics.into_iter().map(told).collect()
}

#[test]
fn without_a_file_and_flags_all_is_default() {
    let checked = NodeConfig::load(NodeOverrides::default()).unwrap();
    assert_eq!(checked.value, NodeConfig::default());
    assert_eq!(checked.warnings, []);
}

/// A file with every key that there is.
const EVERY_KEY: &str = r#"
        data_dir = "d"
        listen = "[::1]:1"
        policies = "/etc/p.toml"
        certs = "../c"
        insecure = true
        create = false
        workers = 3
        after_power_loss = "quarantine"
        table = { max_keys = 5, max_memory = "3MiB" }
        [cluster]
        join = ["a.example:1", "[::2]:2"]
        advertise = "b.example:3"
        weight = 4
        replicas = 3
        zone = "rack-7"
        repair_after = "30s"
        hand_off_bytes_per_second = "5MiB"
        [storage]
        sync_interval = "2s"
        checkpoint_interval = "1min"
        checkpoint_bytes = "2MiB"
        [clock]
        max_error = "off"
        [server]
        max_connections = 6
        max_in_flight = 7
        drain_timeout = "0s"
        [log]
        format = "json"
        level = "debug"
        [http]
        listen = "127.0.0.1:8"
        [resp]
        listen = "127.0.0.1:8"
        password_file = "secret"
        "#;

#[test]
fn a_file_sets_every_key() {
    let (dir, overrides) = dir_with(EVERY_KEY);
    let expected = NodeConfig {
        data_dir: dir.path().join("d"),
        listen: "[::1]:1".parse().unwrap(),
        policies: "/etc/p.toml".into(),
        certs: Some(dir.path().join("../c")),
        insecure: true,
        create: false,
        workers: 3,
        after_power_loss: AfterPowerLoss::Quarantine,
        cluster: ClusterConfig {
            join: vec!["a.example:1".into(), "[::2]:2".into()],
            advertise: Some("b.example:3".into()),
            weight: 4,
            replicas: 3,
            zone: "rack-7".to_owned(),
            repair_after: Duration::from_secs(30),
            hand_off_bytes_per_second: 5 << 20,
        },
        table: TableConfig {
            max_keys: 5,
            max_memory_bytes: 3 << 20,
        },
        storage: StorageConfig {
            sync_interval: Duration::from_secs(2),
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_bytes: 2 << 20,
        },
        clock: ClockConfig { max_error: None },
        server: ServerConfig {
            max_connections: 6,
            max_in_flight: 7,
            drain_timeout: Duration::ZERO,
        },
        log: LogConfig {
            format: LogFormat::Json,
            level: "debug".into(),
            otlp: None,
        },
        http: HttpConfig {
            listen: Some("127.0.0.1:8".parse().unwrap()),
            ..HttpConfig::default()
        },
        resp: RespConfig {
            listen: Some("127.0.0.1:8".parse().unwrap()),
            password: None,
            password_file: Some(dir.path().join("secret")),
        },
    };
    let checked = NodeConfig::load(overrides).unwrap();
    assert_eq!(checked.value, expected);
    assert_eq!(checked.warnings, []);
}

#[test]
fn flags_beat_the_file_and_are_relative_to_the_working_directory() {
    let (dir, mut overrides) =
        dir_with("data_dir = \"d\"\ninsecure = true\n[log]\nlevel = \"warn\"");
    let checked = NodeConfig::load(overrides.clone()).unwrap();
    assert_eq!(checked.value.data_dir, dir.path().join("d"));
    assert_eq!(checked.value.policies, dir.path().join("limits.toml"));
    assert_eq!(checked.value.certs_dir(), dir.path().join("d/certs"));

    overrides.data_dir = Some("e".into());
    overrides.policies = Some("p.toml".into());
    overrides.listen = Some("127.0.0.1:9".parse().unwrap());
    overrides.create = Some(true);
    overrides.insecure = Some(false);
    overrides.log_format = Some(LogFormat::Json);
    overrides.log_level = Some("error".into());
    let config = NodeConfig::load(overrides.clone()).unwrap().value;
    assert_eq!(config.data_dir, Path::new("e"));
    assert_eq!(config.policies, Path::new("p.toml"));
    assert_eq!(config.certs_dir(), Path::new("e/certs"));
    assert_eq!(config.listen.port(), 9);
    assert!(config.create && !config.insecure);
    assert_eq!(
        (config.log.format, config.log.level.as_str()),
        (LogFormat::Json, "error")
    );

    overrides.certs = Some("c".into());
    let config = NodeConfig::load(overrides).unwrap().value;
    assert_eq!(config.certs_dir(), Path::new("c"));
}

#[test]
fn every_mistake_is_told_where_it_stands() {
    #[rustfmt::skip]
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("listen = \"localhost\"\ndata_dir = \"\"\npolicies = 3", &[
            ("1:10: error: `listen` cannot be \"localhost\"; it must be an address and a port", "write it like \"127.0.0.1:7400\" or \"[::1]:7400\""),
            ("2:12: error: `data_dir` is empty", ""),
            ("3:12: error: `policies` must be a string, not a whole number", "write it in quotes"),
        ]),
        ("data-dir = \"x\"\nsync_interval = \"1s\"\n[storag]\n[log]\nlisten = \"\"", &[
            ("1:1: error: `data-dir` is not a key at the top of this file", "did you mean `data_dir`?"),
            ("2:1: error: `sync_interval` is not a key at the top of this file", "`sync_interval` belongs in [storage]"),
            ("3:2: error: `storag` is not a key at the top of this file", "did you mean `storage`?"),
            ("5:1: error: `listen` is not a key in [log]", "`listen` belongs at the top of this file"),
        ]),
        ("workers = 1025\nafter_power_loss = \"quarantin\"\ntable = 1", &[
            ("1:11: error: `workers` is 1025; it must be from 0 to 1024", ""),
            ("2:20: error: `after_power_loss` cannot be \"quarantin\"; it must be \"accept\" or \"quarantine\"", "did you mean `quarantine`?"),
            ("3:9: error: `table` must be a table, not a whole number", ""),
        ]),
        ("[table]\nmax_memory = \"2Gib\"\n[storage]\ncheckpoint_bytes = 64\nsync_interval = \"1\"\ncheckpoint_interval = \"2hour\"", &[
            ("2:16: error: `Gib` is not a known unit; `max_memory` must be a size such as \"64MiB\"", "did you mean `GiB`?"),
            ("4:20: error: `checkpoint_bytes` must be a size such as \"64MiB\", not a whole number", "write it in quotes"),
            ("5:17: error: `1` is not a whole number and a unit; `sync_interval` must be a duration such as \"30s\"", ""),
            ("6:23: error: \"2hour\" is out of bounds; `checkpoint_interval` must be from 100ms to 1hour", ""),
        ]),
        ("[clock]\nmax_error = \"of\"\n[log]\nlevel = \"inof\"\nformat = \"text\"", &[
            ("2:13: error: `of` is not a whole number and a unit; `max_error` must be a duration such as \"30s\"", ""),
            ("4:9: error: `inof` is not a log level: `inof` is none of trace, debug, info, warn, error, off", "write trace, debug, info, warn, error or off"),
            ("5:10: error: `format` cannot be \"text\"; it must be \"human\" or \"json\"", ""),
        ]),
        ("[server]\nmax_in_flight = 0\nmax_connections = 1.5\ndrain_timeout = \"99999999999999999999s\"", &[
            ("2:17: error: `max_in_flight` is 0; it must be from 1 to 10000000", ""),
            ("3:19: error: `max_connections` must be a whole number, not a number with a fraction", ""),
            ("4:17: error: \"99999999999999999999s\" is out of bounds; `drain_timeout` must be from 0s to 1hour", ""),
        ]),
    ];
    for (text, expected) in cases {
        let (_dir, overrides) = dir_with(text);
        let expected: Vec<_> = expected
            .iter()
            .map(|(told, hint)| {
                (
                    (*told).to_owned(),
                    (!hint.is_empty()).then(|| (*hint).to_owned()),
                )
            })
            .collect();
        assert_eq!(told(NodeConfig::load(overrides)), expected, "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let overrides = NodeOverrides {
        config: Some("no/such/node.toml".into()),
        ..NodeOverrides::default()
    };
    let error = NodeConfig::load(overrides).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read no/such/node.toml; does it exist, and may this process read it?"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_flag_that_is_no_level_is_an_error() {
    let overrides = NodeOverrides {
        log_level: Some("loud".into()),
        ..NodeOverrides::default()
    };
    let expected = "--log-level: error: `loud` is not a log level: `loud` is none of trace, debug, \
                    info, warn, error, off";
    assert_eq!(
        told(NodeConfig::load(overrides)),
        [(expected.to_owned(), None)]
    );
}

#[test]
fn redis_clients_of_other_machines_need_a_password() {
    let resp = "[resp]\nlisten = \"0.0.0.0:7479\"\n";
    let (_dir, overrides) = dir_with(resp);
    let [(refused, Some(_))] = &told(NodeConfig::load(overrides))[..] else {
        panic!("it is not refused");
    };
    assert!(
        refused.starts_with("2:10: error: other machines can reach 0.0.0.0:7479, but [resp]"),
        "{refused}"
    );
    let (_dir, mut overrides) = dir_with("insecure = true");
    overrides.resp = Some("0.0.0.0:7479".parse().unwrap());
    let [(warned, Some(_))] = &told(NodeConfig::load(overrides))[..] else {
        panic!("there is no warning");
    };
    assert!(
        warned.starts_with("settings: warning: `insecure` lets anyone"),
        "{warned}"
    );

    for (password, expected) in [
        ("password = \"p\"", Vec::new()),
        (
            "password = \"\"",
            vec!["the password of [resp] must have 1 to 512 bytes"],
        ),
    ] {
        let (_dir, overrides) = dir_with(&format!("{resp}{password}"));
        let told: Vec<String> = told(NodeConfig::load(overrides))
            .into_iter()
            .map(|(line, _)| line.split("error: ").last().unwrap().to_owned())
            .filter(|line| !line.starts_with("other machines"))
            .collect();
        assert_eq!(told, expected, "{password}");
    }
}

#[test]
fn the_password_is_the_first_line_of_its_file_and_never_shown() {
    let (dir, overrides) = dir_with("[resp]\npassword_file = \"secret\"");
    let config = NodeConfig::load(overrides).unwrap().value;
    let missing = config.resp.load_password().unwrap_err();
    assert!(
        missing.to_string().contains("cannot read the password"),
        "{missing}"
    );
    for (text, expected) in [
        ("open sesame\nx", Some("open sesame")),
        ("\nx", None),
        ("", None),
    ] {
        std::fs::write(dir.path().join("secret"), text).unwrap();
        let password = config.resp.load_password().ok().flatten();
        assert_eq!(password.as_ref().map(Password::reveal), expected);
        assert!(!format!("{password:?}").contains("sesame"));
    }
}

#[test]
fn a_public_address_needs_certificates_or_an_explicit_insecure() {
    let public = "listen = \"0.0.0.0:7400\"\n";
    let (dir, overrides) = dir_with(public);
    let [(refused, Some(hint))] = &told(NodeConfig::load(overrides.clone()))[..] else {
        panic!("it is not refused");
    };
    assert!(
        refused.starts_with("1:10: error: other machines can reach 0.0.0.0:7400"),
        "{refused}"
    );
    assert!(hint.contains("certs init --dir"), "{hint}");

    // An empty directory holds no certificates.
    let certs = dir.path().join("data/certs");
    std::fs::create_dir_all(&certs).unwrap();
    assert!(NodeConfig::load(overrides.clone()).is_err());
    std::fs::write(certs.join("ca.pem"), "").unwrap();
    assert_eq!(told(NodeConfig::load(overrides)), []);

    let (_dir, overrides) = dir_with(&format!("{public}insecure = true"));
    let [(warned, Some(_))] = &told(NodeConfig::load(overrides))[..] else {
        panic!("there is no warning");
    };
    assert!(
        warned.starts_with("2:12: warning: `insecure` lets anyone"),
        "{warned}"
    );
}

#[test]
fn only_addresses_of_this_machine_alone_are_not_public() {
    for (listen, public) in [
        ("127.0.0.1:1", false),
        ("127.9.9.9:1", false),
        ("[::1]:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("0.0.0.0:1", true),
        ("[::]:1", true),
        ("10.0.0.1:1", true),
    ] {
        let config = NodeConfig {
            listen: listen.parse().unwrap(),
            certs: Some("no/such/dir".into()),
            ..NodeConfig::default()
        };
        assert_eq!(config.is_public(), public, "{listen}");
        assert_eq!(config.check().is_empty(), !public, "{listen}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(
        key in prop::sample::select(super::super::node_file::TOP_KEYS),
        value in ".{0,20}",
        bare: bool,
    ) {
        let text = if bare { format!("{key} = {value}") } else { format!("{key} = \"{value}\"") };
        if let Err(error) = read_node(&Source::new("f", &text), None) {
            prop_assert!(!error.diagnostics().is_empty());
        }
    }
}
