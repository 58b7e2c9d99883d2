//! Disks that take no more: full ones, and ones that may only be read.

use std::time::Duration;

use distributed_rate_limiter::WireError;
use distributed_rate_limiter::client::{Check, CheckError, Client};

use crate::support::{Disk, Home, Node, PATIENCE, now_ns};

const POLICIES: &str = "\
[policy.api]
limit = \"3/hour\"
[policy.open]
limit = \"3/hour\"
on_failure = \"allow\"
";

const BATCH: usize = 1000;

async fn client(home: &Home, node: &Node) -> Client {
    let client = home.client(node).connections(1).deadline(PATIENCE);
    client.connect().await.unwrap()
}

/// Asks for all permits of ever new keys until the disk is full; the keys of which all three
/// permits were granted.
async fn ask_until_full(client: &Client) -> Vec<String> {
    let given_up_ns = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    let mut granted = Vec::new();
    for batch in 0.. {
        assert!(now_ns() < given_up_ns, "the disk never got full");
        let keys: Vec<_> = (0..BATCH).map(|n| format!("key-{batch}-{n}")).collect();
        let checks = keys
            .iter()
            .map(|key| Check::new("api", key.as_str()).cost(3));
        let answers = client.check_many(checks).await;
        let mut full = false;
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(decision) => {
                    assert!(decision.allowed && !decision.is_degraded(), "{decision:?}");
                    granted.push(key.clone());
                }
                Err(CheckError::Refused(WireError::StorageFailed)) => full = true,
                Err(error) => unreachable!("{key}: {error}"),
            }
        }
        if full {
            break;
        }
    }
    granted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_stops_the_granting_and_costs_no_count() {
    let Some(disk) = Disk::mount(48) else { return };
    let home = Home::with_data(POLICIES, &disk.path().join("data"));
    let mut node = home.start();
    let connected = client(&home, &node).await;
    disk.fill(256 * 1024);
    let granted = ask_until_full(&connected).await;
    assert!(
        !granted.is_empty(),
        "nothing was granted before the disk was full"
    );
    for key in ["key-0-0", "new"] {
        let refused = connected.check("api", key).await;
        let fenced = CheckError::Refused(WireError::StorageFailed);
        assert_eq!(
            format!("{refused:?}"),
            format!("{:?}", Err::<(), _>(fenced)),
            "{key}"
        );
    }
    let open = connected.check("open", "new").await.unwrap();
    assert!(
        open.allowed && open.is_degraded(),
        "on_failure = allow: {open:?}"
    );
    let status = home.admin(&node).await.status().await.unwrap();
    assert!(
        status.storage.contains("No space left"),
        "{}",
        status.storage
    );
    assert!(
        node.log()
            .line("storage failed")
            .unwrap()
            .contains("\"ERROR\"")
    );
    drop(connected);
    node.signal("TERM");
    assert_eq!(
        node.wait(),
        Some(1),
        "a stop that could not keep all counts is no clean one"
    );
    // What the failed write had taken is free again.
    disk.fill(0);
    let (code, said) = home.refused();
    assert!(
        code == Some(1) && said.contains("is full; make space and start again"),
        "{said}"
    );
    disk.make_room();
    let node = home.start();
    let connected = client(&home, &node).await;
    for keys in granted.chunks(BATCH) {
        let checks = keys.iter().map(|key| Check::new("api", key.as_str()));
        for (key, answer) in keys.iter().zip(connected.check_many(checks).await) {
            let decision = answer.unwrap();
            assert!(!decision.allowed, "{key} got a fourth permit: {decision:?}");
        }
    }
    let fresh = connected.check("api", "fresh").await.unwrap();
    assert!(
        fresh.allowed && !fresh.is_degraded(),
        "it goes on: {fresh:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_directory_that_may_only_be_read_is_refused() {
    let Some(disk) = Disk::mount(64) else { return };
    let home = Home::with_data(POLICIES, &disk.path().join("data"));
    let mut node = home.start();
    let connected = client(&home, &node).await;
    assert!(
        connected
            .check("api", "user-7")
            .cost(3)
            .await
            .unwrap()
            .allowed
    );
    drop(connected);
    tokio::time::sleep(Duration::ZERO).await;
    node.stop();
    disk.make_read_only();
    let (code, said) = home.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("cannot be written; correct its owner, mode or mount"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}
