//! The ways in which the model dies, and what it then leaves.

use super::*;

fn journal(store: &MemoryStore) -> Vec<u64> {
    let mut numbers = Vec::new();
    store
        .scan_journal(&mut |number, _| numbers.push(number))
        .unwrap();
    numbers
}

#[test]
fn a_power_loss_leaves_the_synced_writes_and_any_prefix_of_the_others() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let store = MemoryStore::new();
        for number in 1..=4 {
            store.append_commit(number, b"record").unwrap();
        }
        store.sync().unwrap();
        for number in 5..=8 {
            store.append_commit(number, b"record").unwrap();
        }
        let after = store.power_loss(seed);
        assert_ne!(after.found().boot, store.found().boot);
        let numbers = journal(&after);
        assert!((4..=8).contains(&numbers.len()), "seed {seed}");
        assert!(
            numbers.iter().copied().eq(1..=numbers.len() as u64),
            "seed {seed}"
        );
        lengths.insert(numbers.len());
        assert!(matches!(
            store.append_commit(9, b""),
            Err(StoreError::Closed)
        ));
    }
    assert_eq!(lengths.len(), 5, "every prefix comes up");
}

#[test]
fn a_kill_leaves_all_writes() {
    let store = MemoryStore::new();
    store.append_commit(1, b"record").unwrap();
    let after = store.kill();
    assert_eq!(journal(&after), [1]);
    assert_eq!(after.found().boot, store.found().boot);
    assert!(!after.found().created);
}

#[test]
fn the_chosen_write_or_sync_fails_and_no_other() {
    let store = MemoryStore::new();
    store.fail_write(2);
    store.fail_sync(2);
    store.append_commit(1, b"").unwrap();
    assert!(store.append_commit(2, b"").is_err());
    store.append_commit(3, b"").unwrap();
    store.sync().unwrap();
    assert!(store.sync().is_err());
    store.sync().unwrap();
    assert_eq!(journal(&store), [1, 3]);
}

#[test]
fn a_volatile_store_forgets_commits() {
    let store = MemoryStore::volatile();
    store.append_commit(1, b"record").unwrap();
    store.put_states(&[(StateId(1), vec![1])]).unwrap();
    assert!(journal(&store).is_empty());
    assert_eq!(store.state(StateId(1)).unwrap(), Some(vec![1]));
    assert_eq!(store.disk.lock().unsynced.len(), 0);
}
