//! `promtool check metrics`: nothing to say about `/metrics` of any node.

use std::io::Write as _;
use std::process::Stdio;

use super::asking::get;
use super::program::installed;
use crate::support::Cluster;

const POLICIES: &str = "[policy.few]\nlimit = \"2/hour\"\n[policy.many]\nlimit = \"1000/s\"\n";

#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_metrics_of_a_cluster_at_work() {
    let settings = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let cluster = Cluster::start_with(3, 3, POLICIES, settings).await;
    for n in 0..30 {
        for path in [
            format!("/v1/check/few?key=k-{}", n % 5),
            format!("/v1/check/many?key=k-{n}"),
            "/v1/check/none?key=k".to_owned(),
            "/v1/check/few?key=k&cost=3".to_owned(),
        ] {
            get(cluster.http(n % 3), &path, &[]);
        }
    }
    for place in cluster.running() {
        let page = get(cluster.http(place), "/metrics", &[]);
        assert_eq!(page.status, 200);
        for said in ["ratelimit_checks_total{policy=\"few\"", "_bucket{"] {
            assert!(page.body.contains(said), "{said} in {}", page.body);
        }
        let mut child = installed("debian/usr/bin/promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut into = child.stdin.take().unwrap();
        into.write_all(page.body.as_bytes()).unwrap();
        drop(into);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        assert!(output.stdout.is_empty());
    }
}
