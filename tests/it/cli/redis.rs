//! `redis-cli` and `redis-benchmark` against a node in this process, and `ratelimitctl hot` after
//! them. `tools/setup` installs both (the package redis-tools).

use std::process::{Command, Output};

use super::ctl::text;
use super::online::Served;

fn start() -> Served {
    let policies: [(&str, &[&str]); 2] = [("few", &["2/hour"]), ("many", &["1000000000/s"])];
    let listen = "127.0.0.1:0".parse().unwrap();
    Served::start_with(&policies, |options| options.resp = Some(listen))
}

fn redis(program: &str, served: &Served, arguments: &[&str]) -> Output {
    let port = served.resp_address().port().to_string();
    let output = Command::new(program)
        .args(["-p", &port])
        .args(arguments)
        .output();
    let Ok(output) = output else {
        unreachable!("there is no {program}; install it with tools/setup");
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    output
}

#[test]
fn redis_cli_asks_by_a_policy_and_by_a_limit_of_its_own() {
    let served = start();
    let ask = |arguments: &[&str]| {
        let output = redis("redis-cli", &served, arguments);
        text(&output.stdout).trim().replace('\n', " ")
    };
    assert!(ask(&["RATELIMIT", "few", "k"]).starts_with("0 2 1 -1 36"));
    assert!(ask(&["RATELIMIT", "few", "k"]).starts_with("0 2 0 -1 36"));
    assert!(ask(&["RATELIMIT", "few", "k"]).starts_with("1 2 0 3"));
    assert!(ask(&["CL.THROTTLE", "k", "0", "1", "3600"]).starts_with("0 1 0 -1 36"));
    assert!(ask(&["-3", "CL.THROTTLE", "k", "0", "1", "3600"]).starts_with("1 1 0 3"));
    let by_name = ask(&["-3", "RATELIMIT", "few", "k"]);
    assert!(by_name.contains("source owner"), "{by_name}");
    assert!(ask(&["RATELIMIT", "none", "k"]).starts_with("NOPOLICY "));
    served.stop();
}

#[test]
fn redis_benchmark_is_served_and_its_hot_key_shown() {
    let served = start();
    let bench = |arguments: &[&str]| {
        let output = redis("redis-benchmark", &served, arguments);
        let out = text(&output.stdout);
        assert!(out.contains("requests per second"), "{out}");
    };
    bench(&[
        "-q",
        "-c",
        "50",
        "-n",
        "2000",
        "-r",
        "100",
        "RATELIMIT",
        "many",
        "k:__rand_int__",
    ]);
    bench(&[
        "-q",
        "-c",
        "50",
        "-P",
        "16",
        "-n",
        "20000",
        "RATELIMIT",
        "many",
        "hot",
    ]);
    bench(&[
        "-q",
        "-c",
        "10",
        "-P",
        "4",
        "-n",
        "2000",
        "CL.THROTTLE",
        "hot",
        "9",
        "10",
        "60",
    ]);
    let hot = served.json(&["hot", "--limit", "1"]);
    assert_eq!(hot["asked"][0]["key"], "hot", "{hot}");
    assert_eq!(hot["asked"][0]["policy"], "many", "{hot}");
    assert_eq!(hot["denied"][0]["policy"], "throttle:9:10:60", "{hot}");
    served.stop();
}
