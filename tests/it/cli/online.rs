//! The commands that ask a node, against one in this process.

use std::net::UdpSocket;
use std::process::Output;
use std::time::Duration;

use distributed_rate_limiter::limiter::policy::{Limit, Limits, Policy, PolicySet};
use distributed_rate_limiter::node::{Node, NodeOptions};
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::tls::Credentials;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::ctl::{command, ctl, json_of, text};
use crate::support::eventually;

/// A node that counts in memory, and certificates made by the program itself.
pub(super) struct Served {
    node: Node,
    certs: TempDir,
}

impl Served {
    pub(super) fn start(policies: &[(&str, &[&str])]) -> Self {
        Self::start_with(policies, |_| {})
    }

    pub(super) fn start_with(
        policies: &[(&str, &[&str])],
        change: impl FnOnce(&mut NodeOptions),
    ) -> Self {
        let certs = TempDir::new().unwrap();
        for arguments in [
            &["init"][..],
            &["node", "n"],
            &["client", "c"],
            &["admin", "a"],
        ] {
            let dir = ["--dir", certs.path().to_str().unwrap()];
            let made = ctl(&[&["certs"], arguments, &dir[..]].concat());
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        let mut options = NodeOptions::new(Credentials::load(certs.path(), Role::Node).unwrap());
        options.workers = 1;
        change(&mut options);
        let mut set = PolicySet {
            allow_request_limits: true,
            ..PolicySet::default()
        };
        for (name, limits) in policies {
            let limits = limits.iter().map(|limit| limit.parse::<Limit>().unwrap());
            let limits = Limits::new(limits.collect()).unwrap();
            set.policies.insert((*name).to_owned(), Policy::new(limits));
        }
        let node = Node::start(&options, &set).unwrap();
        Self { node, certs }
    }

    /// Where it speaks the Redis protocol.
    pub(super) fn resp_address(&self) -> std::net::SocketAddr {
        self.node.resp_address().unwrap()
    }

    /// Stops the node in order.
    pub(super) fn stop(self) {
        self.node.stop(Duration::from_secs(30)).unwrap();
    }

    /// The command, told by its environment where the node is.
    pub(super) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command(arguments);
        command
            .env("RATELIMIT_ENDPOINT", self.node.address().to_string())
            .env("RATELIMIT_CERTS", self.certs.path());
        command
    }

    pub(super) fn ctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and reads its JSON.
    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[arguments, &["-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        json_of(&output)
    }
}

#[test]
fn a_check_is_shown_in_full_and_its_exit_code_is_the_answer() {
    let served = Served::start(&[("few", &["2/hour"])]);
    let check = |arguments: &[&str]| {
        let output = served.ctl(&[&["check", "few", "user-7", "-o", "json"], arguments].concat());
        (output.status.code(), json_of(&output))
    };
    for (arguments, exit, remaining) in [
        (&["--peek"][..], 0, 2),
        (&[], 0, 1),
        (&["--peek", "--cost", "2"], 1, 1),
        (&["--cost", "2"], 1, 1),
        (&[], 0, 0),
        (&[], 1, 0),
    ] {
        let (code, mut shown) = check(arguments);
        assert_eq!(code, Some(exit), "{arguments:?}: {shown}");
        let retry = shown["retry_after_ms"].as_u64().unwrap();
        assert_eq!(retry > 0, exit == 1, "{shown}");
        let times = shown.as_object_mut().unwrap();
        assert!(
            times.remove("retry_after_ms").is_some() && times.remove("reset_after_ms").is_some()
        );
        let expected =
            json!({"allowed": exit == 0, "limit": 2, "remaining": remaining, "source": "owner"});
        assert_eq!(shown, expected, "{arguments:?}");
    }
}

#[test]
fn a_check_may_bring_its_own_limits() {
    let served = Served::start(&[]);
    let arguments = [
        "check", "login", "user-7", "--limit", "1/hour", "--limit", "5/day",
    ];
    assert_eq!(served.ctl(&arguments).status.code(), Some(0));
    assert_eq!(served.ctl(&arguments).status.code(), Some(1));
    let policies = served.json(&["policies"]);
    assert_eq!(policies["policies"][0]["name"], "login");
    assert_eq!(policies["policies"][0]["carried"], true);
}

#[test]
fn what_is_counted_can_be_inspected_and_reset() {
    let served = Served::start(&[("api", &["10/min", "1000/hour"])]);
    for _ in 0..3 {
        served.json(&["check", "api", "user-7", "--cost", "2"]);
    }
    let inspected = served.json(&["inspect", "api", "user-7"]);
    let limits = inspected["limits"].as_array().unwrap();
    let of = |name: &str| {
        limits
            .iter()
            .map(|limit| limit[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("limit"), ["10/min", "1000/hour"]);
    assert_eq!(of("used"), [6, 6]);
    let page = served.ctl(&["inspect", "api", "user-7"]);
    let page = text(&page.stdout);
    assert!(
        page.contains("10/min: 6 of 10 used") && page.contains('█'),
        "{page}"
    );
    served.json(&["reset", "api", "user-7"]);
    assert_eq!(
        served.json(&["inspect", "api", "user-7"])["limits"][0]["used"],
        0
    );
}

#[test]
fn policies_and_status_tell_what_the_node_has() {
    let served = Served::start(&[("api", &["10/min", "1000/hour"]), ("few", &["1/s"])]);
    assert_eq!(
        served.ctl(&["check", "few", "user-7"]).status.code(),
        Some(0)
    );
    let policies = served.json(&["policies"]);
    let expected = json!({
        "name": "api", "limits": ["10/min", "1000/hour"], "on_failure": "deny",
        "durability": "process", "shadow": false, "overrides": 0, "carried": false,
    });
    assert_eq!(policies["policies"][0], expected);
    assert_eq!(policies["policies"].as_array().unwrap().len(), 2);
    let status = served.json(&["status"]);
    for (name, expected) in [
        ("checks", json!(1)),
        ("grants", json!(1)),
        ("keys", json!(1)),
        ("storage", json!("ok")),
        ("durability", json!({"none": 0, "process": 2, "fsync": 0})),
    ] {
        assert_eq!(status[name], expected, "{name} in {status}");
    }
    for page in [served.ctl(&["policies"]), served.ctl(&["status"])] {
        assert!(page.status.success() && !page.stdout.contains(&b'\x1b'));
    }
}

#[test]
fn what_the_node_refuses_ends_with_4() {
    let served = Served::start(&[("few", &["2/hour"])]);
    for (arguments, said) in [
        (&["check", "fewer", "user-7"][..], "`fewer`"),
        (&["check", "few", "user-7", "--cost", "3"], "never pass"),
        (&["inspect", "fewer", "user-7"], "`fewer`"),
        (&["reset", "fewer", "user-7"], "`fewer`"),
        (&["load", "--policy", "fewer"], "`fewer`"),
        (&["load", "--policy", "few", "--cost", "3"], "never pass"),
    ] {
        let output = served.ctl(arguments);
        let remarks = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {remarks}");
        assert!(
            remarks.contains(said) && output.stdout.is_empty(),
            "{arguments:?}: {remarks}"
        );
    }
}

#[test]
fn a_node_that_does_not_answer_ends_with_3() {
    let served = Served::start(&[]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let output = served
        .command(&["check", "api", "user-7"])
        .env(
            "RATELIMIT_ENDPOINT",
            silent.local_addr().unwrap().to_string(),
        )
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn certificates_that_are_missing_end_with_2_and_a_hint() {
    for arguments in [
        &["check", "api", "user-7"][..],
        &["status"],
        &["load", "--policy", "api"],
    ] {
        let output = ctl(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("\nhint: "),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn replicas_are_wanted_and_given_up_and_what_that_means_is_said() {
    let served = Served::start(&[("api", &["10/min"])]);
    let said = |arguments: &[&str]| {
        let output = served.ctl(arguments);
        let all = text(&output.stdout).to_owned() + text(&output.stderr);
        (output.status.code(), all)
    };
    let alone = "the loss of a node stops its keys until it is back";
    for (arguments, exit, expected) in [
        (
            &["cluster", "status"][..],
            1,
            format!("1 replica: {alone}\n"),
        ),
        (
            &["cluster", "set", "replicas", "3"],
            0,
            "each slot is now to be on 3 nodes, but only 1 node takes slots".to_owned(),
        ),
        (
            &["cluster", "status"],
            1,
            format!("3 replicas are wanted, but only 1 node takes slots: {alone}\n"),
        ),
        (&["ring"], 0, "under-replicated: 4,096".to_owned()),
        (
            &["cluster", "set", "replicas", "1"],
            2,
            "give --yes if you are sure".to_owned(),
        ),
        (
            &["cluster", "set", "replicas", "1", "--yes"],
            0,
            "each slot is now to be on 1 node;".to_owned(),
        ),
    ] {
        // The node has accepted a change before it has carried it out.
        let mut told = said(arguments);
        eventually(&format!("{arguments:?} says {expected:?}"), || {
            if !told.1.contains(&expected) {
                told = said(arguments);
            }
            told.1.contains(&expected)
        });
        assert_eq!(told.0, Some(exit), "{arguments:?}: {}", told.1);
    }
}

#[test]
fn a_slot_is_shown_with_all_that_its_node_knows() {
    let served = Served::start(&[("api", &["10/min"])]);
    served.json(&["check", "api", "user-7"]);
    let owner = served.json(&["owner", "user-7"]);
    assert_eq!(owner["replicas"][0]["in_sync"], true);
    let shown = served.json(&["slot", "--key", "user-7"]);
    assert_eq!(shown["slot"], owner["slot"]);
    let node = &shown["nodes"][0];
    assert_eq!(node["part"], "owner");
    assert_eq!(
        (&node["serves"], &node["holds"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(node["chosen"]["owner"], owner["owner"]);
    assert_eq!(node["promised"], node["chosen"]["epoch"]);
    let number = owner["slot"].to_string();
    assert_eq!(
        served.json(&["slot", &number])["nodes"][0]["complete"],
        true
    );
}
