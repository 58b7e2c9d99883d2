//! Data directories damaged behind a node's back, and disks that fail under it: each time a clear
//! word, never a panic, never a permit too many.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use distributed_rate_limiter::Decision;
use distributed_rate_limiter::client::{Check, Client};

use crate::support::{Home, Node, now_ns};

/// One policy that stays used up, and one whose quarantine a test can wait for.
const POLICIES: &str = "\
[policy.api]
limit = \"1/hour\"
[policy.soon]
limit = \"1/4s\"
[policy.open]
limit = \"1/hour\"
on_failure = \"allow\"
";

const SOON_NS: u64 = 4_000_000_000;

/// Enough for several blocks of rows.
const KEYS: usize = 400;

fn key(n: usize) -> String {
    format!("key-{n}")
}

async fn client(home: &Home, node: &Node) -> Client {
    let client = home
        .client(node)
        .connections(1)
        .deadline(Duration::from_secs(10));
    client.connect().await.unwrap()
}

async fn ask_all(client: &Client, policy: &str) -> Vec<Decision> {
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    let checks = keys.iter().map(|key| Check::new(policy, key.as_str()));
    let answers = client.check_many(checks).await;
    answers.into_iter().map(|answer| answer.unwrap()).collect()
}

/// A home in which every permit of `api` is used up, its node stopped or killed.
async fn used_up(end: fn(&mut Node)) -> Home {
    let home = Home::new(POLICIES);
    let mut node = home.start();
    let client = client(&home, &node).await;
    assert!(
        ask_all(&client, "api")
            .await
            .iter()
            .all(|decision| decision.allowed)
    );
    drop(client);
    end(&mut node);
    home
}

/// A home as before, all rows of which are in table files.
async fn in_tables() -> Home {
    let home = used_up(Node::stop).await;
    home.start().stop();
    home
}

fn with_extension(home: &Home, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.data().join("db")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn largest(mut files: Vec<PathBuf>) -> PathBuf {
    files.sort_by_key(|file| fs::metadata(file).unwrap().len());
    files.pop().unwrap()
}

/// The table file that holds the rows.
fn rows_file(home: &Home) -> PathBuf {
    let path = home.data().join("db");
    let mut options = rocksdb::Options::default();
    // As the node has it: without, RocksDB crashes on logs that it has taken note of.
    options.set_track_and_verify_wals_in_manifest(true);
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&options, &path, &families, false).unwrap();
    let files = db.live_files().unwrap();
    let rows = files
        .iter()
        .filter(|file| file.column_family_name == "state");
    let file = rows.max_by_key(|file| file.size).unwrap();
    path.join(file.name.trim_start_matches('/'))
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The start fails with 1 and these words, without a panic.
fn refuses(home: &Home, words: &[&str]) {
    let (code, said) = home.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said:\n{said}");
    }
}

/// Everything is denied since counts may be missing, but for what `on_failure` lets pass; until
/// the window has passed.
async fn quarantines(home: &Home, node: &Node) {
    let started_ns = now_ns();
    let line = node.log().line("counts may be missing").unwrap();
    assert!(
        line.contains("\"ERROR\"") && line.contains("\"why\""),
        "{line}"
    );
    let client = client(home, node).await;
    for decision in ask_all(&client, "api").await {
        assert!(!decision.allowed && decision.is_degraded(), "{decision:?}");
        assert!(
            decision.retry_after > Duration::from_secs(3000),
            "{decision:?}"
        );
    }
    let open = client.check("open", "any").await.unwrap();
    assert!(open.allowed && open.is_degraded(), "{open:?}");
    let status = home.admin(node).await.status().await.unwrap();
    assert!(
        status.quarantine_ms > 0 && status.degraded > 0,
        "{status:?}"
    );
    let granted = loop {
        let decision = client.check("soon", "any").await.unwrap();
        if decision.allowed {
            assert!(!decision.is_degraded(), "{decision:?}");
            break now_ns();
        }
        tokio::time::sleep(decision.retry_after.min(Duration::from_millis(100))).await;
    };
    // The quarantine began when the node started, which was before it said so.
    assert!(
        granted + 1_000_000_000 > started_ns + SOON_NS,
        "granted within a window"
    );
    assert!(!client.check("soon", "any").await.unwrap().allowed);
    for _ in 0..2 {
        let peek = client.peek("soon", "fresh").await.unwrap();
        assert!(
            peek.allowed,
            "a peek counts nothing, while others are in quarantine: {peek:?}"
        );
    }
    assert!(!client.check("api", "any").await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flipped_byte_in_the_rows_costs_their_block_and_the_rest_is_remembered() {
    let home = in_tables().await;
    let file = rows_file(&home);
    edit(&file, |bytes| {
        let middle = bytes.len() / 4;
        bytes[middle] ^= 1;
    });
    let node = home.start();
    let client = client(&home, &node).await;
    let decisions = ask_all(&client, "api").await;
    for decision in &decisions {
        assert!(!decision.allowed, "{decision:?}");
    }
    let degraded = decisions.iter().filter(|it| it.is_degraded()).count();
    assert!(0 < degraded && degraded < KEYS / 2, "{degraded}");
    assert!(node.log().line("\"ERROR\"").is_some(), "nothing is said");
    let keys: Vec<_> = (0..KEYS).map(|n| format!("fresh-{n}")).collect();
    let fresh = keys.iter().map(|key| Check::new("soon", key.as_str()));
    let fresh = client.check_many(fresh).await;
    let served = fresh.iter().filter(|it| it.as_ref().unwrap().allowed);
    assert!(served.count() > KEYS / 2, "the other slots serve");
    let status = home.admin(&node).await.status().await.unwrap();
    assert!(status.degraded > 0 && status.quarantine_ms == 0 && status.quarantined_keys > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flipped_byte_in_the_log_quarantines_everything_for_a_window() {
    let home = used_up(Node::kill).await;
    edit(&largest(with_extension(&home, "log")), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let node = home.start();
    quarantines(&home, &node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_log_cut_within_what_was_committed_quarantines_everything_for_a_window() {
    let home = used_up(Node::stop).await;
    // The commits stand before the rows of the checkpoint, which repeat them.
    edit(&largest(with_extension(&home, "log")), |bytes| {
        bytes.truncate(bytes.len() / 8);
    });
    let node = home.start();
    quarantines(&home, &node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn wherever_a_log_is_cut_no_permit_comes_back() {
    let home = used_up(Node::stop).await;
    let log = largest(with_extension(&home, "log"));
    let whole = fs::read(&log).unwrap().len();
    for kept in [7, 6, 4, 3, 2, 1, 0] {
        edit(&log, |bytes| bytes.truncate(whole * kept / 8));
        let copy = Home::new(POLICIES);
        copy_dir(home.data(), copy.data());
        let mut node = copy.spawn(([127, 0, 0, 1], 0).into());
        if node.log().line("\"serving\"").is_none() {
            assert_eq!(node.wait(), Some(1), "{}", node.log().whole());
            assert!(node.log().whole().contains("restore the directory"));
            continue;
        }
        node.wait_serving();
        let client = client(&copy, &node).await;
        for decision in ask_all(&client, "api").await {
            assert!(!decision.allowed, "cut at {kept}/8: {decision:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_quarantine_goes_on_after_another_kill() {
    let home = used_up(Node::stop).await;
    fs::remove_file(home.data().join("watermark")).unwrap();
    let mut node = home.start();
    assert!(
        node.log()
            .line("counts may be missing")
            .unwrap()
            .contains("watermark")
    );
    node.kill();
    let node = home.start();
    let client = client(&home, &node).await;
    for decision in ask_all(&client, "api").await {
        assert!(!decision.allowed && decision.is_degraded(), "{decision:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_one_of_its_files_a_directory_is_refused_by_name() {
    let home = in_tables().await;
    let current = home.data().join("db/CURRENT");
    let bytes = fs::read(&current).unwrap();
    fs::remove_file(&current).unwrap();
    refuses(
        &home,
        &["lacks `db/CURRENT`", "restore the directory", "--create"],
    );
    fs::write(&current, bytes).unwrap();
    fs::remove_file(largest(with_extension(&home, "sst"))).unwrap();
    refuses(
        &home,
        &[
            "is damaged",
            "restore the directory",
            "ratelimitctl wal verify",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flipped_byte_in_meta_refuses_the_start_and_says_what_to_do() {
    let home = in_tables().await;
    let mut hits = 0;
    for file in with_extension(&home, "sst") {
        edit(&file, |bytes| {
            let name = b"identity";
            let at = bytes.windows(name.len()).position(|window| window == name);
            if let Some(at) = at {
                bytes[at + 40] ^= 1;
                hits += 1;
            }
        });
    }
    assert!(hits > 0, "the identity was not found in any table");
    refuses(
        &home,
        &[
            "restore the directory",
            "--create",
            home.data().to_str().unwrap(),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_directory_of_a_newer_format_is_refused_and_left_alone() {
    let home = in_tables().await;
    {
        let path = home.data().join("db");
        let options = rocksdb::Options::default();
        let families = rocksdb::DB::list_cf(&options, &path).unwrap();
        let db = rocksdb::DB::open_cf(&options, &path, &families).unwrap();
        let value = 999u32.to_le_bytes();
        let checksum = crc32fast::hash(&[b"format\0".as_slice(), &value].concat());
        let stored = [checksum.to_le_bytes(), value].concat();
        db.put_cf(db.cf_handle("meta").unwrap(), "format", stored)
            .unwrap();
    }
    refuses(&home, &["has format 999", "run the newer version"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_process_on_a_directory_is_refused_and_the_first_serves_on() {
    let home = Home::new(POLICIES);
    let node = home.start();
    let client = client(&home, &node).await;
    assert!(client.check("api", "user-7").await.unwrap().allowed);
    refuses(
        &home,
        &["is used by another process", "stop it or set data_dir"],
    );
    assert!(!client.check("api", "user-7").await.unwrap().allowed);
    assert!(client.check("api", "user-8").await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_block_is_mended_by_the_first_start_and_frees_no_permit() {
    let home = in_tables().await;
    let file = rows_file(&home);
    edit(&file, |bytes| {
        let middle = bytes.len() / 4;
        bytes[middle] ^= 1;
    });
    for start in 0..6 {
        let mut node = home.start();
        let log = node.log().so_far();
        let told = log.contains("cannot be read");
        assert_eq!(told, start == 0, "start {start}: {log}");
        let client = client(&home, &node).await;
        for decision in ask_all(&client, "api").await {
            assert!(!decision.allowed, "start {start}: {decision:?}");
        }
        let key = format!("new-{start}");
        let decision = client.check("open", &key).await.unwrap();
        assert!(decision.allowed, "start {start}: {decision:?}");
        let status = home.admin(&node).await.status().await.unwrap();
        assert_eq!(status.storage, "ok", "start {start}");
        // The windows have not passed, and nobody forgets it.
        assert!(status.quarantined_keys > 0, "start {start}");
        drop(client);
        node.stop();
    }
}
