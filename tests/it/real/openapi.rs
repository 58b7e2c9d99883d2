//! schemathesis on `/openapi.json`: requests of all kinds that the document allows and forbids, none of
//! which is answered by a server error or by what the document does not list.
//!
//! One check of it is left out, `positive_data_acceptance`: a document cannot say that a cost must not
//! be above its policy's limit, that a key has 256 bytes rather than characters, or that it stands in
//! the query or in the body but not in both.

use tempfile::TempDir;

use super::program::{installed, run};
use crate::support::Cluster;

const POLICIES: &str =
    "[policy.api]\nlimit = \"100/min\"\n[policy.none-left]\nlimit = \"1/hour\"\n";

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Waits are long, so that a busy machine does not time out; the policy is one that there is; and a
/// body that breaks a rule may be refused for its length.
const CONFIG: &str = "\
[parameters]
timeout_ms = 60000
\"path.policy\" = \"api\"
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [\"400\", \"401\", \"403\", \"404\", \"405\", \"413\", \"415\", \"429\"]
";

#[tokio::test]
async fn schemathesis_finds_no_answer_outside_the_document() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("token"), TOKEN).unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), CONFIG).unwrap();
    let settings = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{}\"\n",
        dir.path().join("token").display()
    );
    let cluster = Cluster::start_with(3, 1, POLICIES, &settings).await;
    let seed = std::env::var("RATELIMIT_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let said = run(installed("python/bin/schemathesis")
        .current_dir(dir.path())
        .arg("run")
        .arg(format!("http://{}/openapi.json", cluster.http(0)))
        // It never ends.
        .args(["--exclude-operation-id", "events"])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--seed", &seed, "--max-examples", "50", "--no-color"])
        .arg("--continue-on-failure"));
    for part in ["15 selected / 16 total", "Coverage", "Fuzzing"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
