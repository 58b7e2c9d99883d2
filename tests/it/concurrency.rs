//! Many ask for the last permit at once, and one gets it.

use distributed_rate_limiter::client::Client;
use distributed_rate_limiter::limiter::policy::{Limit, Policy, PolicySet};
use distributed_rate_limiter::node::{Limiter, LimiterOptions};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::support::{Home, PATIENCE};

const TASKS: usize = 64;
const LIMIT: usize = 1000;

/// So that every task has to be turned away in the end.
const ASKED_BY_EACH: usize = 20;

fn policies() -> PolicySet {
    let mut set = PolicySet::default();
    set.policies.insert(
        "api".to_owned(),
        Policy::new("1000/hour".parse::<Limit>().unwrap()),
    );
    set
}

/// What 64 tasks are granted together, each on one of `clients` in turn.
async fn granted_to_all(clients: &[Client], key: &'static str) -> usize {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let client = clients[task % clients.len()].clone();
        tasks.spawn(async move {
            let mut granted = 0;
            for _ in 0..ASKED_BY_EACH {
                granted += usize::from(client.check("api", key).await.unwrap().allowed);
            }
            granted
        });
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_tasks_exactly_the_limit_is_granted_over_one_connection_and_over_many() {
    let home = Home::new("[policy.api]\nlimit = \"1000/hour\"\n");
    let node = home.start();
    let connect = async |connections| {
        let client = home
            .client(&node)
            .deadline(PATIENCE)
            .connections(connections);
        client.connect().await.unwrap()
    };
    let one = [connect(1).await];
    assert_eq!(granted_to_all(&one, "one connection").await, LIMIT);
    let many = [connect(8).await];
    assert_eq!(
        granted_to_all(&many, "one client of eight connections").await,
        LIMIT
    );
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(connect(1).await);
    }
    assert_eq!(granted_to_all(&clients, "eight clients").await, LIMIT);
    let status = home.admin(&node).await.status().await.unwrap();
    assert_eq!(
        (status.grants, status.checks),
        (3 * LIMIT as u64, 3 * 64 * 20)
    );
}

#[test]
fn in_one_process_exactly_the_limit_is_granted_to_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let in_memory = LimiterOptions::in_memory(policies());
    let on_disk = LimiterOptions::at(dir.path(), policies());
    for (what, options) in [("in memory", in_memory), ("on disk", on_disk)] {
        let limiter = Limiter::open(options).unwrap();
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| granted_here(&limiter)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(granted, LIMIT, "{what}");
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(limiter.close()).unwrap();
    }
}

/// What one thread is granted, asking singly and in batches that hold the key several times.
fn granted_here(limiter: &Limiter) -> usize {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut granted = 0;
        for _ in 0..TASKS {
            granted += usize::from(limiter.check("api", "user-7", 1).await.unwrap().allowed);
            let answers = limiter.check_many(&[("api", "user-7", 1); 3]).await;
            granted += answers
                .into_iter()
                .filter(|answer| answer.as_ref().unwrap().allowed)
                .count();
        }
        granted
    })
}
