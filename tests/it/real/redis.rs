//! `redis-cli` and `redis-benchmark` against a cluster: every node answers for all keys, from the same
//! counts. `tools/setup` installs both.

use std::process::Command;

use super::asking::get;
use super::program::run;
use crate::support::Cluster;

const POLICIES: &str = r#"
allow_request_limits = true
[policy.few]
limit = "6/hour"
[policy.many]
limit = "1000000000/s"
"#;

const SETTINGS: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[resp]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn redis_programs_may_ask_any_node_and_the_counts_are_one() {
    let cluster = Cluster::start_with(3, 1, POLICIES, SETTINGS).await;
    let redis = |program: &str, place: usize, arguments: &[&str]| {
        let port = cluster.resp(place).port().to_string();
        let mut command = Command::new(program);
        run(command.args(["-p", &port]).args(arguments))
    };
    let ask = |place: usize, arguments: &[&str]| {
        let said = redis("redis-cli", place, arguments);
        said.trim().replace('\n', " ")
    };
    for key in ["a", "b", "c", "d"] {
        for (n, place) in [0, 1, 2, 0, 1, 2].into_iter().enumerate() {
            let told = ask(place, &["RATELIMIT", "few", key]);
            let expected = format!("0 6 {} -1 36", 5 - n);
            assert!(told.starts_with(&expected), "{told}: {expected}");
        }
        for place in cluster.running() {
            let told = ask(place, &["RATELIMIT", "few", key]);
            assert!(told.starts_with("1 6 0 3"), "{told}");
        }
    }
    for (place, expected) in [(2, "0 2 1 -1 "), (0, "0 2 0 -1 "), (1, "1 2 0 ")] {
        let told = ask(place, &["CL.THROTTLE", "k", "1", "2", "3600"]);
        assert!(told.starts_with(expected), "{told}: {expected}");
    }
    let all = ["-q", "-c", "20", "-n", "4000", "-r", "1000"];
    for (place, pipelined) in [(0, "1"), (1, "16"), (2, "16")] {
        let asked = ["-P", pipelined, "RATELIMIT", "many", "k:__rand_int__"];
        let told = redis("redis-benchmark", place, &[&all[..], &asked].concat());
        assert!(told.contains("requests per second"), "{told}");
    }
    let counted: u64 = cluster
        .running()
        .iter()
        .map(|&place| allowed(&cluster, place))
        .sum();
    assert_eq!(counted, 12_000, "each was decided once");
}

/// Checks by the policy `many` that a node has let pass, for whoever asked it.
fn allowed(cluster: &Cluster, place: usize) -> u64 {
    let page = get(cluster.http(place), "/metrics", &[]).body;
    let line = "ratelimit_checks_total{policy=\"many\",outcome=\"allowed\"} ";
    let mut counts = page.lines().filter_map(|it| it.strip_prefix(line));
    counts.next().map_or(0, |count| count.parse().unwrap())
}
