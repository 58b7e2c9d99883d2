//! Policies that change under a running node.

use std::time::Duration;

use distributed_rate_limiter::client::Client;

use crate::support::{Home, Node, PATIENCE, now_ns};

async fn client(home: &Home, node: &Node) -> Client {
    home.client(node)
        .deadline(PATIENCE)
        .connect()
        .await
        .unwrap()
}

/// Limit, what is left of it, and whether the check passed.
async fn ask(client: &Client, key: &str) -> (u64, u64, bool) {
    let decision = client.check("api", key).await.unwrap();
    (decision.limit, decision.remaining, decision.allowed)
}

fn policy(limit: &str) -> String {
    format!("[policy.api]\nlimit = \"{limit}\"\n")
}

fn write(home: &Home, policies: &str) {
    std::fs::write(home.policies(), policies).unwrap();
}

/// The first line that says `words` after `change`.
fn said_after(node: &Node, words: &str, change: impl FnOnce()) -> String {
    let before = node.log().len();
    change();
    node.log().line_after(before, words).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_changed_file_is_taken_in_and_the_counts_stay() {
    let home = Home::new(&policy("5/hour"));
    let mut node = home.start();
    let client = client(&home, &node).await;
    for left in [4, 3, 2] {
        assert_eq!(ask(&client, "user-7").await, (5, left, true));
    }
    said_after(&node, "policies reloaded", || {
        write(&home, &policy("10/hour"));
    });
    assert_eq!(ask(&client, "user-7").await, (10, 6, true), "four of ten");
    said_after(&node, "policies reloaded", || {
        write(&home, &policy("3/hour"));
    });
    assert_eq!(ask(&client, "user-7").await, (3, 0, false), "four of three");
    // As editors do: a new file moved over the old one.
    let beside = home.policies().with_extension("new");
    std::fs::write(&beside, policy("6/hour")).unwrap();
    said_after(&node, "policies reloaded", || {
        std::fs::rename(&beside, home.policies()).unwrap();
    });
    assert_eq!(
        ask(&client, "user-7").await,
        (6, 1, true),
        "the denied one was not counted"
    );
    node.kill();
    let node = home.start_at(node.address());
    let client = self::client(&home, &node).await;
    assert_eq!(ask(&client, "user-7").await, (6, 0, true));
    assert_eq!(ask(&client, "user-7").await, (6, 0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hangup_reads_the_file_again_whether_it_changed_or_not() {
    let home = Home::new(&policy("5/hour"));
    let node = home.start();
    let client = client(&home, &node).await;
    said_after(&node, "policies reloaded", || node.signal("HUP"));
    assert_eq!(ask(&client, "user-7").await, (5, 4, true));
    said_after(&node, "policies reloaded", || {
        write(
            &home,
            &format!("{}[policy.more]\nlimit = \"1/s\"\n", policy("7/hour")),
        );
        node.signal("HUP");
    });
    assert_eq!(ask(&client, "user-7").await, (7, 5, true));
    assert!(client.check("more", "user-7").await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_file_keeps_the_old_policies_and_says_where_it_is_wrong() {
    let home = Home::new(&policy("5/hour"));
    let node = home.start();
    let client = client(&home, &node).await;
    assert_eq!(ask(&client, "user-7").await, (5, 4, true));
    let bad = "[policy.api]\nlimit = \"9/fortnight\"\n[policy.other]\nlimitt = \"1/s\"\n";
    let line = said_after(&node, "policies not reloaded", || write(&home, bad));
    assert!(line.contains("\"ERROR\""), "{line}");
    for place in [
        "limits.toml:2:",
        "fortnight",
        "limits.toml:4:1",
        "limitt",
        "did you mean",
    ] {
        assert!(line.contains(place), "`{place}` is not said: {line}");
    }
    assert_eq!(
        ask(&client, "user-7").await,
        (5, 3, true),
        "the old set is in force"
    );
    let line = said_after(&node, "policies not reloaded", || {
        std::fs::remove_file(home.policies()).unwrap();
    });
    assert!(line.contains("limits.toml"), "{line}");
    assert_eq!(ask(&client, "user-7").await, (5, 2, true));
    said_after(&node, "policies reloaded", || {
        write(&home, &policy("4/hour"));
    });
    assert_eq!(ask(&client, "user-7").await, (4, 0, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_file_at_a_restart_leaves_the_stored_policies_in_force_and_is_told() {
    let home = Home::new(&policy("5/hour"));
    let mut node = home.start();
    assert_eq!(
        ask(&client(&home, &node).await, "user-7").await,
        (5, 4, true)
    );
    node.stop();
    write(&home, "[policy.api]\nlimit = \"9/fortnight\"\n");
    let node = home.start();
    let line = node.log().line("policy file cannot be used").unwrap();
    for said in ["\"ERROR\"", "limits.toml:2:", "fortnight"] {
        assert!(line.contains(said), "`{said}` is not said: {line}");
    }
    let client = client(&home, &node).await;
    assert_eq!(ask(&client, "user-7").await, (5, 3, true));
    let told = || async { home.admin(&node).await.status().await.unwrap() };
    let status = told().await;
    assert!(
        status.policy_file_error.contains("fortnight") && !status.policy_file_differs,
        "{status:?}"
    );
    said_after(&node, "policies reloaded", || {
        write(&home, &policy("4/hour"));
    });
    assert_eq!(ask(&client, "user-7").await, (4, 1, true));
    assert_eq!(told().await.policy_file_error, "");
    said_after(&node, "policies not reloaded", || write(&home, "limit"));
    assert!(told().await.policy_file_error.contains("limits.toml:1:"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_file_at_the_start_is_an_error_with_its_place() {
    let home = Home::new("[policy.api]\nlimit = \"9/fortnight\"\n");
    let (code, said) = home.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("limits.toml:2:") && said.contains("fortnight"),
        "{said}"
    );
    assert!(!home.data().exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_reload_makes_room_for_more_than_the_limits_allow() {
    let home = Home::new(&policy("20/2s"));
    let node = home.start();
    let client = client(&home, &node).await;
    let (mut granted, mut reloads) = (Vec::new(), 0);
    let until_ns = now_ns() + 3_000_000_000;
    while now_ns() < until_ns {
        let sent_ns = now_ns();
        if client.check("api", "user-7").await.unwrap().allowed {
            granted.push(crate::support::Granted {
                sent_ns,
                received_ns: now_ns(),
                cost: 1,
            });
        }
        reloads += 1;
        // Always 20 in 2 s, under other words and beside other policies.
        let window = if reloads % 2 == 0 { "2s" } else { "2000ms" };
        if reloads % 50 == 0 {
            write(&home, &policy(&format!("20/{window}")));
            node.signal("HUP");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        crate::support::windows_above(&granted, 2_000_000_000, 20),
        []
    );
    assert!(
        granted.len() >= 20 && reloads > 100,
        "{} granted",
        granted.len()
    );
}
