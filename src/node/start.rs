//! Builds an engine: opens the store, takes in what it holds, works out what time it is, and puts
//! in quarantine what it cannot vouch for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::clock;
use super::engine::{About, Counts, Engine};
use super::error::StartError;
use super::incomplete::Held;
use super::journal::{Journal, Recovered};
use super::mend::Mending;
use super::peers::ClusterIdentity;
use super::policies::Policies;
use super::replication::Replication;
use super::slots;
use super::stamp;
use super::upkeep::Upkeep;
use crate::config::AfterPowerLoss;
use crate::limiter::policy::PolicySet;
use crate::limiter::table::{Capacity, Table};
use crate::limiter::{SlotClocks, resume};
use crate::routing::KeyHasher;
use crate::storage::Identity;
use crate::storage::committer::Committer;
use crate::storage::fence::Fence;
use crate::storage::memory::MemoryStore;
use crate::storage::open::OpenOptions;
use crate::storage::recovery::{Recovery, recover};
use crate::storage::replace::RowTurn;
use crate::storage::rocks::RocksStore;
use crate::storage::store::Store;
use crate::storage::watermark::BootId;
use crate::types::{NodeId, SLOT_COUNT, SlotTime};

/// How an engine is to be built.
#[derive(Debug, Clone)]
pub(crate) struct EngineOptions {
    /// Where to keep counts; `None`: in memory only.
    pub(crate) data_dir: Option<PathBuf>,
    /// Make the directory if it is missing or empty.
    pub(crate) create: bool,
    pub(crate) keys_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) sync_interval: Duration,
    /// By how much wall clocks may be wrong; `None`: no time is credited after a reboot.
    pub(crate) max_clock_error: Option<Duration>,
    pub(crate) after_power_loss: AfterPowerLoss,
    pub(crate) in_flight_max: u32,
    pub(crate) birth: Birth,
}

/// What the node is, and what it becomes if its directory is created now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Birth {
    /// A limiter by itself: it serves all slots at once.
    Alone,
    /// A node of a cluster, which it creates; what it serves is decided by its ownership.
    Founder,
    /// A node of a cluster that is there already.
    Joins {
        /// The id that it has told the cluster.
        node: NodeId,
        /// What it was told.
        cluster: ClusterIdentity,
    },
}

/// A store and who it belongs to.
struct Opened {
    store: Arc<dyn Store>,
    identity: Identity,
    boots: u64,
    slot_clocks: Arc<SlotClocks>,
}

impl Engine {
    /// Builds an engine with `set` in force. It serves all slots at once if it is [`Birth::Alone`];
    /// else none, until who owns them is worked out from [`Engine::found_registers`].
    ///
    /// # Errors
    /// [`StartError`]; nothing serves then.
    pub(crate) fn open(options: &EngineOptions, set: &PolicySet) -> Result<Arc<Self>, StartError> {
        let opened = open_store(options)?;
        let fence = Arc::new(Fence::new());
        let stored = stamp::read(&*opened.store)?;
        let clocks = clock::start_clocks();
        let known = resume(
            stored.as_ref(),
            SlotTime::ZERO,
            &clocks,
            options.max_clock_error,
        );
        let mut table = new_table(options, &opened)?;
        let registers = opened.store.registers()?;
        if matches!(options.birth, Birth::Alone) && !registers.is_empty() {
            return Err(StartError::OfCluster);
        }
        let (recovery, newest) = replay(&opened, &table, known.read(clocks.mono))?;
        let clock = resume(stored.as_ref(), newest, &clocks, options.max_clock_error);
        table.start_commits_at(recovery.next_commit);
        let table = Arc::new(table);
        let now = clock.read(clock::mono_now());
        let held = Held::by(&registers, &table);
        let incomplete = held.incomplete(&*opened.store, &recovery)?;
        let replication = Arc::new(Replication::new(opened.identity.node));
        let journal = Journal {
            table: Arc::clone(&table),
            clock,
            replication: Arc::clone(&replication),
        };
        let mending = Mending {
            store: &*opened.store,
            journal: &journal,
            fence: &fence,
            held: &held,
            now,
        };
        let quarantine = mending.judge(&recovery, options.after_power_loss)?;
        let committer = Committer::start(
            journal,
            Arc::clone(&opened.store),
            Arc::clone(&fence),
            recovery.next_commit.saturating_sub(1),
            options.sync_interval,
            clock::mono_now,
        )?;
        let about = about(options, &opened);
        let engine = Arc::new(Self {
            table,
            clock,
            policies: Policies::new(KeyHasher::new(&opened.identity.key_secret)),
            store: opened.store,
            committer,
            fence,
            upkeep: Upkeep::default(),
            counts: Counts::default(),
            about,
            replication,
            cluster: OnceLock::new(),
            quarantine,
            slot_clocks: opened.slot_clocks,
            row_turn: RowTurn::default(),
            found_registers: registers,
            incomplete,
        });
        engine.put_in_force(set)?;
        engine.end_quarantines()?;
        if let Birth::Alone = options.birth {
            engine.serve_alone();
        }
        engine.tell_start(&recovery);
        Ok(engine)
    }

    fn tell_start(&self, recovery: &Recovery) {
        tracing::info!(
            node = %self.about.node,
            boot = self.about.boots,
            keys = self.table.counters().keys,
            rows = recovery.rows,
            records = recovery.records,
            unclean = recovery.unclean,
            data_dir = self.about.data_dir,
            "counts recovered"
        );
    }
}

fn about(options: &EngineOptions, opened: &Opened) -> About {
    let data_dir = options.data_dir.as_deref();
    let data_dir = data_dir.map_or_else(|| "memory".into(), Path::to_string_lossy);
    About {
        node: opened.identity.node,
        cluster: opened.identity.cluster,
        key_secret: opened.identity.key_secret,
        founder: opened.identity.founder,
        boots: opened.boots,
        started: clock::mono_now(),
        data_dir: data_dir.into_owned(),
        in_flight_max: options.in_flight_max,
        keeps: options.data_dir.is_some(),
    }
}

/// A table that holds the slots that are the node's own, and nothing of them yet.
fn new_table(options: &EngineOptions, opened: &Opened) -> Result<Table, StartError> {
    let capacity = Capacity {
        keys_max: options.keys_max,
        bytes_max: options.bytes_max,
        evicts: options.data_dir.is_some(),
    };
    let clocks = Arc::clone(&opened.slot_clocks);
    let table = Table::new(capacity, 1, opened.identity.node, clocks);
    slots::hold(&table, &*opened.store)?;
    Ok(table)
}

/// Reads what is stored into the table; and the newest stamp that was seen.
fn replay(
    opened: &Opened,
    table: &Table,
    now: SlotTime,
) -> Result<(Recovery, SlotTime), StartError> {
    let mut sink = Recovered {
        table,
        store: &*opened.store,
        now,
        newest_stamp: SlotTime::ZERO,
    };
    let recovery = recover(&*opened.store, &mut sink)?;
    Ok((recovery, sink.newest_stamp))
}

fn open_store(options: &EngineOptions) -> Result<Opened, StartError> {
    let slot_clocks = Arc::new(SlotClocks::default());
    let newborn = match options.birth {
        Birth::Alone | Birth::Founder => Identity {
            node: NodeId(rand::random()),
            cluster: rand::random(),
            key_secret: rand::random(),
            slot_count: SLOT_COUNT,
            founder: true,
        },
        Birth::Joins { node, cluster } => Identity {
            node,
            cluster: cluster.cluster,
            key_secret: cluster.key_secret,
            slot_count: cluster.slot_count,
            founder: false,
        },
    };
    let Some(path) = &options.data_dir else {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::volatile());
        return Ok(Opened {
            store,
            identity: newborn,
            boots: 1,
            slot_clocks,
        });
    };
    let store = RocksStore::open(&OpenOptions {
        path: path.clone(),
        create: options.create,
        newborn,
        boot: BootId::parse(&clock::boot_id()).unwrap_or_default(),
        slot_clocks: Arc::clone(&slot_clocks),
    })?;
    if options.create && !store.found().created {
        tracing::info!(path = %path.display(), "--create has no effect: the directory is in use already");
    }
    let (identity, boots) = (store.identity(), store.boots().0);
    Ok(Opened {
        store: Arc::new(store),
        identity,
        boots,
        slot_clocks,
    })
}
