//! The status page in Chromium: the ring is drawn, what changes is shown live, nothing is in the console,
//! and it can be read on a phone, in the dark and by keyboard. What it expects stands in `page.py`.

use super::program::{beside, installed, run};
use crate::support::Cluster;

const POLICIES: &str = "\
[policy.few]\nlimit = \"2/hour\"\n[policy.many]\nlimit = \"1000/s\"\n";

#[tokio::test]
async fn the_status_page_shows_the_cluster_as_it_is_and_suits_its_readers() {
    let settings = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let mut cluster = Cluster::start_with(3, 1, POLICIES, settings).await;
    let address = cluster.http(0).to_string();
    let look = |arguments: &[&str]| {
        let mut page = installed("python/bin/python");
        let said = run(page.arg(beside("page.py")).args(arguments));
        assert!(said.contains("all is as expected"), "{said}");
    };
    look(&[&address]);
    let lost = cluster.address(2).to_string();
    cluster.lose(2);
    look(&[&address, &lost]);
}
