//! Slots that move between two engines with real directories, and what a start makes of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::error::StartError;
use super::slots::{Installation, NewState};
use super::start::{Birth, EngineOptions};
use crate::config::AfterPowerLoss;
use crate::limiter::policy::{Durability, Limit, Policy, PolicySet};
use crate::limiter::transfer::{Row, Staging};
use crate::node::forward::Local as _;
use crate::protocol::client::{Ask, PolicyRef, Target, WireSource};
use crate::protocol::error::WireError;
use crate::server::Mode;
use crate::types::{Epoch, Slot, SlotSet, SlotTime, StateId};

const KEYS: usize = 40;

pub(super) fn policies(durability: Durability) -> PolicySet {
    let limit: Limit = "3/hour".parse().unwrap();
    let mut policy = Policy::new(limit);
    policy.durability = durability;
    let mut set = PolicySet::default();
    set.policies.insert("api".to_owned(), policy);
    set
}

fn open(dir: &Path, durability: Durability) -> Arc<Engine> {
    open_with(dir, &policies(durability))
}

/// An engine on `dir` with these policies in force.
pub(super) fn open_with(dir: &Path, policies: &PolicySet) -> Arc<Engine> {
    let mut options = EngineOptions {
        data_dir: Some(dir.to_owned()),
        create: true,
        keys_max: 1000,
        bytes_max: u64::MAX,
        sync_interval: Duration::from_secs(1),
        max_clock_error: None,
        after_power_loss: AfterPowerLoss::Accept,
        in_flight_max: 0,
        birth: Birth::Alone,
    };
    match Engine::open(&options, policies) {
        // It was moved from or to, so it is a cluster's: nothing is served until that is decided.
        Err(StartError::OfCluster) => {
            options.birth = Birth::Founder;
            Engine::open(&options, policies).unwrap()
        }
        opened => opened.unwrap(),
    }
}

/// What each key is answered: allowed or not, or the error.
pub(super) fn check_all(engine: &Engine) -> Vec<Result<bool, WireError>> {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key-{n}")).collect();
    let asks = keys.iter().map(|key| Ask {
        target: Target {
            policy: PolicyRef::Named("api"),
            key,
        },
        cost: 1,
    });
    let asks: Vec<_> = asks.collect();
    let mut answers = Vec::new();
    engine.decide_reading(&asks, Mode::Count, &mut answers);
    let allowed = answers.into_iter().map(|answer| {
        let decision = answer.decision?;
        Ok(decision.allowed && decision.source == WireSource::Owner)
    });
    allowed.collect()
}

fn all() -> SlotSet {
    Slot::all().collect()
}

/// Copies and freezes all slots; the rows and clock of each, as another node takes them.
async fn take_from(engine: &Engine) -> BTreeMap<Slot, (Vec<Row>, SlotTime)> {
    let stored = engine.stored_rows();
    let mut export = engine.table.begin_export(all());
    let mut rows = Vec::new();
    while engine
        .table
        .export_copy(&mut export, &stored, &mut rows)
        .unwrap()
    {}
    assert!(check_all(engine).iter().all(|it| *it == Ok(true)));
    let frozen = engine.freeze(&all()).await.unwrap();
    assert_eq!(frozen.len(), Slot::all().len());
    while engine
        .table
        .export_rest(&mut export, &stored, &mut rows)
        .unwrap()
    {}
    let staging = Slot::all().map(|slot| (slot, Staging::new(slot, 1 << 20)));
    let mut staging: BTreeMap<_, _> = staging.collect();
    for (id, row) in rows {
        staging.get_mut(&id.slot()).unwrap().take(id, row).unwrap();
    }
    let digests = export.digests().unwrap().into_iter();
    let taken = digests.zip(frozen).map(|((slot, digest, clock), frozen)| {
        assert_eq!((frozen.0, frozen.2), (slot, clock));
        let rows = staging
            .remove(&slot)
            .unwrap()
            .finish(clock, digest)
            .unwrap();
        (slot, (rows, clock))
    });
    taken.collect()
}

fn epoch_of(engine: &Engine, counter: u64) -> Epoch {
    Epoch {
        counter,
        node: engine.about.node,
    }
}

fn install_and_serve(engine: &Engine, counter: u64, state: impl Fn(Slot) -> (NewState, SlotTime)) {
    let installations = Slot::all().map(|slot| {
        let (state, clock) = state(slot);
        Installation {
            slot,
            n: 0,
            register: b"register".to_vec(),
            clock,
            state,
        }
    });
    let epoch = epoch_of(engine, counter);
    engine.install(epoch, installations.collect()).unwrap();
    let slots: Vec<_> = Slot::all().map(|slot| (slot, epoch)).collect();
    engine.serve(&slots).unwrap();
}

/// Two directories of one cluster: the keys have the same hashes in both.
async fn twins() -> [tempfile::TempDir; 2] {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let engine = open(dirs[0].path(), Durability::Process);
    engine.close().await.unwrap();
    std::fs::create_dir(dirs[1].path().join("db")).unwrap();
    for place in ["", "db"] {
        for file in std::fs::read_dir(dirs[0].path().join(place)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let to = dirs[1].path().join(place).join(path.file_name().unwrap());
                std::fs::copy(&path, to).unwrap();
            }
        }
    }
    dirs
}

#[tokio::test]
async fn slots_take_their_counts_along_and_over_restarts() {
    for durability in [Durability::Process, Durability::None] {
        let [old_dir, new_dir] = twins().await;
        let old = open(old_dir.path(), durability);
        assert!(check_all(&old).iter().all(|it| *it == Ok(true)));
        let taken = take_from(&old).await;
        assert!(
            check_all(&old)
                .iter()
                .all(|it| *it == Err(WireError::Unavailable))
        );

        let new = open(new_dir.path(), durability);
        new.drop_slots(&all()).unwrap();
        install_and_serve(&new, 10, |slot| {
            let (rows, clock) = &taken[&slot];
            (NewState::Rows(rows.clone()), *clock)
        });
        old.drop_slots(&all()).unwrap();
        for expected in [true, false] {
            assert!(check_all(&new).iter().all(|it| *it == Ok(expected)));
        }
        new.close().await.unwrap();
        drop(new);

        let new = open(new_dir.path(), durability);
        assert_eq!(new.found_registers.len(), Slot::all().len());
        assert!(
            check_all(&new)
                .iter()
                .all(|it| *it == Err(WireError::Unavailable))
        );
        let frozen = new.freeze(&all()).await.unwrap();
        assert!(
            frozen
                .iter()
                .all(|(_, at, _)| at.epoch == epoch_of(&new, 10))
        );
        let clocks: BTreeMap<_, _> = frozen.into_iter().map(|it| (it.0, it.2)).collect();
        install_and_serve(&new, 11, |slot| (NewState::Own, clocks[&slot]));
        assert!(check_all(&new).iter().all(|it| *it == Ok(false)));
        // A crash, with all that was installed as the node's own.
        drop(new);
        let new = open(new_dir.path(), durability);
        install_and_serve(&new, 12, |slot| {
            (NewState::Own, new.table.slot_now(slot, new.now()))
        });
        assert!(check_all(&new).iter().all(|it| *it == Ok(false)));

        old.close().await.unwrap();
        drop(old);
        let old = open(old_dir.path(), durability);
        assert!(old.table.held().is_empty());
        assert!(
            check_all(&old)
                .iter()
                .all(|it| *it == Err(WireError::Unavailable))
        );
    }
}

#[tokio::test]
async fn a_slot_that_nobody_has_denies_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), Durability::Process);
    engine.freeze(&all()).await.unwrap();
    install_and_serve(&engine, 7, |_| (NewState::Lost, SlotTime::from_ms(5)));
    assert!(check_all(&engine).iter().all(|it| *it == Ok(false)));
    // A crash: the quarantine goes on.
    drop(engine);
    let engine = open(dir.path(), Durability::Process);
    install_and_serve(&engine, 8, |slot| {
        (NewState::Own, engine.table.slot_now(slot, engine.now()))
    });
    assert!(check_all(&engine).iter().all(|it| *it == Ok(false)));
}

#[tokio::test]
async fn a_nodes_quarantine_goes_with_its_slots() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), Durability::Process);
    let (store, now) = (&*engine.store, engine.now());
    engine.quarantine.begin(store, now).unwrap();
    let slot = Slot::new(9).unwrap();
    let mut export = engine.table.begin_export([slot].into_iter().collect());
    engine.freeze(export.slots()).await.unwrap();
    let (mut rows, stored) = (Vec::new(), engine.stored_rows());
    while engine
        .table
        .export_rest(&mut export, &stored, &mut rows)
        .unwrap()
    {}
    let ids: Vec<StateId> = rows.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [StateId::first_of(slot)]);
}

#[tokio::test]
async fn a_node_alone_serves_all_slots_at_epochs_that_only_rise() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for start in 0..4 {
        let engine = open(dir.path(), Durability::Process);
        assert!(Slot::all().all(|slot| engine.table.is_served(slot)));
        assert_eq!(engine.found_registers, []);
        let counter = engine.table.position(Slot::new(3).unwrap()).epoch.counter;
        assert!(counter > before);
        before = counter;
        assert_eq!(check_all(&engine)[0], Ok(start < 3));
        engine.committer.flush().await.unwrap();
        // A log that was damaged may have lost how often the node was started.
        engine.store.put_meta("boots", &[0; 8]).unwrap();
    }
}
