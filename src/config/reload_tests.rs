use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Longer than any machine takes; reached only if a change is never noticed.
const FAR: Duration = Duration::from_secs(60);

fn watched(dir: &TempDir, name: &str) -> Watch {
    let mut watch = Watch::start(PolicyFile::new(dir.path().join(name)));
    assert!(!watch.is_polling());
    // Only an event can end the wait in time.
    watch.look_interval = 2 * FAR;
    watch.load().unwrap();
    watch
}

fn with_limit(limit: &str) -> String {
    format!("policy.p.limit = \"{limit}\"")
}

async fn next_limit(watch: &mut Watch) -> String {
    let changed = timeout(FAR, watch.changed())
        .await
        .expect("the change is not noticed");
    changed.unwrap().value.policies["p"].limits.to_string()
}

fn write(dir: &TempDir, name: &str, text: &str) {
    fs::write(dir.path().join(name), text).unwrap();
}

#[tokio::test]
async fn a_file_written_in_place_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = watched(&dir, "limits.toml");
    write(&dir, "limits.toml", &with_limit("2/s"));
    assert_eq!(next_limit(&mut watch).await, "2/s");
    write(&dir, "limits.toml", &with_limit("3/s"));
    assert_eq!(next_limit(&mut watch).await, "3/s");
}

#[tokio::test]
async fn a_file_replaced_by_rename_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = watched(&dir, "limits.toml");
    for limit in ["2/s", "3/s"] {
        write(&dir, ".limits.toml.new", &with_limit(limit));
        fs::rename(
            dir.path().join(".limits.toml.new"),
            dir.path().join("limits.toml"),
        )
        .unwrap();
        assert_eq!(next_limit(&mut watch).await, limit);
    }
}

#[tokio::test]
async fn a_swapped_directory_link_is_followed_as_kubernetes_swaps_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    write(&dir, "..1/limits.toml", &with_limit("1/s"));
    symlink("..1", at("..data")).unwrap();
    symlink("..data/limits.toml", at("limits.toml")).unwrap();
    let mut watch = watched(&dir, "limits.toml");
    for (version, limit) in [("..2", "2/s"), ("..3", "3/s")] {
        fs::create_dir(at(version)).unwrap();
        write(&dir, &format!("{version}/limits.toml"), &with_limit(limit));
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(next_limit(&mut watch).await, limit);
    }
    // What the link leads to now is watched too.
    write(&dir, "..3/limits.toml", &with_limit("4/s"));
    assert_eq!(next_limit(&mut watch).await, "4/s");
}

#[tokio::test]
async fn a_bad_file_is_told_once_and_the_next_good_one_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = watched(&dir, "limits.toml");
    write(&dir, "limits.toml", &with_limit("1/sek"));
    let error = timeout(FAR, watch.changed())
        .await
        .expect("not noticed")
        .unwrap_err();
    assert!(error.to_string().contains("did you mean `sec`?"), "{error}");
    fs::remove_file(dir.path().join("limits.toml")).unwrap();
    let error = timeout(FAR, watch.changed())
        .await
        .expect("not noticed")
        .unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    write(&dir, "limits.toml", &with_limit("2/s"));
    assert_eq!(next_limit(&mut watch).await, "2/s");
}

#[tokio::test]
async fn other_files_of_the_directory_and_the_same_text_are_no_change() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = watched(&dir, "limits.toml");
    write(&dir, "other.toml", "x");
    write(&dir, "limits.toml", &with_limit("1/s"));
    let quiet = timeout(3 * QUIET, watch.changed()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    write(&dir, "limits.toml", &with_limit("2/s"));
    assert_eq!(next_limit(&mut watch).await, "2/s");
}

#[tokio::test]
async fn without_events_the_file_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = Watch::start(PolicyFile::new(dir.path().join("limits.toml")));
    watch.poll("the test wants it so");
    assert!(watch.is_polling());
    assert_eq!(watch.look_interval, POLL_INTERVAL);
    watch.look_interval = Duration::from_millis(1);
    watch.load().unwrap();
    write(&dir, "limits.toml", &with_limit("2/s"));
    assert_eq!(next_limit(&mut watch).await, "2/s");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(PolicyFile::new(dir.path().join("later/limits.toml")));
    assert!(watch.is_polling());
    watch.look_interval = Duration::from_millis(1);
    assert!(matches!(watch.load(), Err(ConfigError::Read { .. })));
    fs::create_dir(dir.path().join("later")).unwrap();
    fs::write(dir.path().join("later/limits.toml"), with_limit("2/s")).unwrap();
    let mut changed = timeout(FAR, watch.changed()).await.expect("not noticed");
    // The file may have been seen before it was written.
    if changed
        .as_ref()
        .is_ok_and(|checked| checked.value.policies.is_empty())
    {
        changed = timeout(FAR, watch.changed()).await.expect("not noticed");
    }
    assert_eq!(changed.unwrap().value.policies.len(), 1);
}

#[tokio::test]
async fn a_change_is_not_lost_when_the_wait_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "limits.toml", &with_limit("1/s"));
    let mut watch = watched(&dir, "limits.toml");
    write(&dir, "limits.toml", &with_limit("2/s"));
    // The event has come, and is put back for the wait that is given up after one step.
    watch.events.notified().await;
    watch.events.notify_one();
    tokio::select! {
        biased;
        changed = watch.changed() => panic!("{changed:?}"),
        () = std::future::ready(()) => {}
    }
    assert!(watch.stirred);
    assert_eq!(next_limit(&mut watch).await, "2/s");
}
