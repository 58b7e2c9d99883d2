//! More keys than fit in memory, over the network: evicted ones are read again, and none is forgotten.

use std::time::Duration;

use distributed_rate_limiter::WireError;
use distributed_rate_limiter::client::{Check, CheckError, Client};

use crate::support::{Home, PATIENCE};

const POLICIES: &str = "[policy.api]\nlimit = \"1/hour\"\n";

/// Room for a part of the keys only.
const SETTINGS: &str = "\
[table]
max_keys = 1000
[storage]
checkpoint_interval = \"1s\"
[log]
format = \"json\"
";

const KEYS: usize = 4000;

/// Asks for every key, again while the node makes room; how many passed.
async fn pass(client: &Client, keys: &[String]) -> usize {
    let mut passed = 0;
    for keys in keys.chunks(100) {
        let mut left: Vec<&str> = keys.iter().map(String::as_str).collect();
        while !left.is_empty() {
            let checks = left.iter().map(|key| Check::new("api", key));
            let answers = client.check_many(checks).await;
            let mut again = Vec::new();
            for (key, answer) in left.into_iter().zip(answers) {
                if let Err(CheckError::Refused(WireError::Overloaded { .. })) = answer {
                    again.push(key);
                } else {
                    passed += usize::from(answer.unwrap().allowed);
                }
            }
            left = again;
            if !left.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keys_beyond_the_memory_are_each_granted_once() {
    let home = Home::new(POLICIES);
    home.set(SETTINGS);
    let node = home.start();
    let client = home.client(&node).deadline(PATIENCE).connect();
    let client = client.await.unwrap();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("user-{n}")).collect();
    assert_eq!(pass(&client, &keys).await, KEYS);
    for _ in 0..2 {
        assert_eq!(pass(&client, &keys).await, 0);
    }
    let status = home.admin(&node).await.status().await.unwrap();
    assert!(status.evictions > 0 && status.keys <= 1000, "{status:?}");
    // A command is read for too.
    client.reset("api", &keys[0]).await.unwrap();
    assert!(client.check("api", &keys[0]).await.unwrap().allowed);
    assert!(!client.check("api", &keys[0]).await.unwrap().allowed);
}
