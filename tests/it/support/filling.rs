//! Writes to a node whose disk takes no more, until it notices: it has some room that it took before.

use distributed_rate_limiter::client::{Check, Client};

use super::{Cluster, PATIENCE, now_ns};

/// Keys that are asked for at once.
const BATCH: usize = 500;

/// Asks for ever new keys under `policy`, best one whose windows are short, until the node at `place`
/// says that its storage failed. What the answers are does not matter.
pub(crate) async fn write_until_noticed(
    cluster: &Cluster,
    place: usize,
    client: &Client,
    policy: &str,
) {
    let given_up_ns = now_ns() + 2 * u64::try_from(PATIENCE.as_nanos()).unwrap();
    let log = cluster.node(place).log();
    for batch in 0.. {
        if log.says("storage failed") {
            return;
        }
        assert!(now_ns() < given_up_ns, "the full disk was never noticed");
        let keys: Vec<String> = (0..BATCH).map(|n| format!("fill-{batch}-{n}")).collect();
        let checks = keys.iter().map(|key| Check::new(policy, key.as_str()));
        drop(client.check_many(checks).await);
    }
}
