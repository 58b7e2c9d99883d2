//! A client in Python, made by grpcio-tools from .proto files, asks all nodes of a cluster as Envoy and as
//! users of Gubernator do. What it expects stands in `client.py`.

use tempfile::TempDir;

use super::program::{beside, installed, run};
use crate::support::Cluster;

const LIMITS: &str = r#"
allow_request_limits = true

[policy.few]
limit = "3/hour"

[[envoy]]
domain = "edge"
headers = "x-ratelimit"

[[envoy.rule]]
match = [{ key = "remote_address" }]
policy = "few"

[[envoy.rule]]
match = [{ key = "blocked" }]
blocked = true
"#;

#[tokio::test]
async fn a_client_made_from_proto_files_is_answered_as_by_envoys_service_and_gubernator() {
    let made = TempDir::new().unwrap();
    let protos = beside("protos");
    let mut protoc = installed("python/bin/python");
    protoc.args(["-m", "grpc_tools.protoc"]);
    protoc.arg(format!("--proto_path={}", protos.display()));
    for kind in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{kind}={}", made.path().display()));
    }
    for file in ["envoy.proto", "gubernator.proto", "health.proto"] {
        protoc.arg(protos.join(file));
    }
    run(&mut protoc);
    let settings = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let cluster = Cluster::start_with(3, 1, LIMITS, settings).await;
    let nodes = cluster.running();
    let nodes = nodes.iter().map(|&place| cluster.http(place).to_string());
    let said = run(installed("python/bin/python")
        .arg(beside("client.py"))
        .args(nodes)
        .env("PYTHONPATH", made.path())
        .env("PYTHONDONTWRITEBYTECODE", "1"));
    assert!(said.contains("all is as expected"), "{said}");
}
