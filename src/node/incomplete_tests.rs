use super::*;
use crate::node::follow::tests::open;
use crate::node::start::Birth;
use crate::storage::recovery::Lost;
use crate::types::{Configuration, Epoch, NodeId, Replicas};

fn register(nodes: &[NodeId]) -> Vec<u8> {
    let epoch = Epoch {
        counter: 1,
        node: nodes[0],
    };
    let chosen = Configuration {
        version: 1,
        epoch,
        owner: nodes[0],
        replicas: Replicas::of(nodes),
    };
    let register = Register {
        promised: epoch,
        chosen: Some(chosen),
        accepted: None,
        complete: true,
    };
    register.encode()
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// How many slots and keys are denied.
fn quarantined(engine: &Engine) -> u64 {
    engine.table.quarantined(engine.now(), 60_000)
}

const fn whole() -> Recovery {
    Recovery {
        next_commit: 1,
        rows: 0,
        records: 0,
        bad_rows: Vec::new(),
        unreadable: None,
        lost_commits: None,
        unclean: false,
        rebooted: false,
        journal_is_broken: false,
    }
}

#[tokio::test]
async fn what_may_be_missing_is_told_by_slot_until_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), Birth::Founder);
    let [one, two] = [1, 2].map(NodeId);
    let registers = [5, 6, 7].map(|n| (slot(n), register(&[one, two])));
    let held = Held::by(&registers, &engine.table);
    let id = |n| StateId::first_of(slot(n));
    let cases: [(Recovery, &[u16]); 7] = [
        (whole(), &[]),
        (
            Recovery {
                unclean: true,
                ..whole()
            },
            &[],
        ),
        (
            Recovery {
                unclean: true,
                rebooted: true,
                ..whole()
            },
            &[5, 6, 7],
        ),
        (
            Recovery {
                lost_commits: Some(Lost::LogDamaged),
                ..whole()
            },
            &[5, 6, 7],
        ),
        (
            Recovery {
                bad_rows: vec![id(6), id(9)],
                ..whole()
            },
            &[6],
        ),
        (
            Recovery {
                unreadable: Some((Some(id(6)), Some(id(6)))),
                ..whole()
            },
            &[6],
        ),
        (
            Recovery {
                unreadable: Some((None, Some(id(6)))),
                ..whole()
            },
            &[5, 6],
        ),
    ];
    for (recovery, expected) in cases {
        let expected: SlotSet = expected.iter().map(|n| slot(*n)).collect();
        let incomplete = held.incomplete(&*engine.store, &recovery).unwrap();
        assert_eq!(incomplete, expected, "{recovery:?}");
        // The next start finds nothing by itself any more.
        let again = held.incomplete(&*engine.store, &whole()).unwrap();
        assert_eq!(again, expected, "{recovery:?}");
        engine.incomplete_is_stored().unwrap();
        let stored = held.incomplete(&*engine.store, &whole()).unwrap();
        assert!(stored.is_empty());
    }
}

#[tokio::test]
async fn only_what_nobody_else_holds_is_denied_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), Birth::Founder);
    let [one, two] = [1, 2].map(NodeId);
    let alone = Held::by(&[(slot(5), register(&[one]))], &engine.table);
    let now = engine.now();
    assert!(
        !alone
            .quarantine_alone(&*engine.store, &engine.table, now)
            .unwrap()
    );
    let shared = Held::by(&[(slot(5), register(&[one, two]))], &engine.table);
    assert!(
        shared
            .quarantine_alone(&*engine.store, &engine.table, now)
            .unwrap()
    );
    let denied = u64::from(SLOT_COUNT) - 1;
    assert_eq!(quarantined(&engine), denied);
    let register = register(&[one, two]);
    engine.store.put_registers(&[(slot(5), register)]).unwrap();
    engine.close().await.unwrap();
    drop(engine);
    let engine = open(dir.path(), Birth::Founder);
    assert_eq!(quarantined(&engine), denied);
    assert!(engine.incomplete.is_empty());
}
