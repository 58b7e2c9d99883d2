//! RocksDB's settings, each with its reason.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, ReadOptions,
};

use std::sync::Arc;

use super::compaction::drop_expired;
use crate::limiter::SlotClocks;

/// Column family of named values.
pub(super) const META: &str = "meta";
/// Column family of commit records: number (u64 BE) → record.
pub(super) const JOURNAL: &str = "journal";
/// Column family of state rows: state id (16 bytes BE) → row.
pub(super) const STATE: &str = "state";

/// Log that a start has to replay at most: well under a second.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Writes gathered in memory before they go to a file; up to four of them a column family.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Blocks kept in memory. Rows are read for evicted keys only, so a small cache does.
const CACHE_BYTES: usize = 8 << 20;
/// Files of RocksDB's own text log, and the size of each.
const TEXT_LOGS: usize = 2;
const TEXT_LOG_BYTES: usize = 1 << 20;
/// A file is compacted after a day even if nothing else asks for it, so that expired rows go.
const COMPACTED_AFTER_S: u64 = 24 * 3600;

/// How to read a damaged write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogRecovery {
    /// Accept a torn tail, refuse other damage.
    TornTail,
    /// Keep what is before the damage.
    UpToDamage,
    /// Keep all that can be read.
    AroundDamage,
}

/// Settings of the database as a whole.
pub(super) fn database(recovery: LogRecovery, create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(true);
    // Each record goes to the kernel before the write returns: a buffer in user space would be
    // lost on kill -9.
    options.set_manual_wal_flush(false);
    // A recycled log file holds old records, so that a torn tail looks like damage.
    options.set_recycle_log_file_num(0);
    options.set_wal_recovery_mode(match recovery {
        LogRecovery::TornTail => DBRecoveryMode::TolerateCorruptedTailRecords,
        LogRecovery::UpToDamage => DBRecoveryMode::PointInTime,
        LogRecovery::AroundDamage => DBRecoveryMode::SkipAnyCorruptedRecord,
    });
    // A log that was synced and closed must be there in full; else rows that a later log relies
    // on would be missing in silence.
    options.set_track_and_verify_wals_in_manifest(recovery == LogRecovery::TornTail);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_bytes_per_sync(1 << 20);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(TEXT_LOGS);
    options.set_max_log_file_size(TEXT_LOG_BYTES);
    options
}

/// The three column families, and those of `others` with default settings.
pub(super) fn column_families(
    clocks: Arc<SlotClocks>,
    others: &[String],
) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let mut families = vec![
        ColumnFamilyDescriptor::new(META, column_family(&cache)),
        ColumnFamilyDescriptor::new(JOURNAL, column_family(&cache)),
        ColumnFamilyDescriptor::new(STATE, state_family(&cache, clocks)),
    ];
    let unknown = others
        .iter()
        .filter(|name| ![META, JOURNAL, STATE, "default"].contains(&name.as_str()));
    families.extend(unknown.map(|name| ColumnFamilyDescriptor::new(name, Options::default())));
    families
}

/// The settings of state rows alone.
pub(super) fn states(clocks: Arc<SlotClocks>) -> Options {
    state_family(&Cache::new_lru_cache(CACHE_BYTES), clocks)
}

/// The settings of commit records alone.
pub(super) fn journal() -> Options {
    column_family(&Cache::new_lru_cache(CACHE_BYTES))
}

fn state_family(cache: &Cache, clocks: Arc<SlotClocks>) -> Options {
    let mut state = column_family(cache);
    state.set_compaction_filter("expired-states", drop_expired(clocks));
    state.set_periodic_compaction_seconds(COMPACTED_AFTER_S);
    state
}

fn column_family(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    // A commit never waits for a flush unless three are behind.
    options.set_max_write_buffer_number(4);
    options.set_target_file_size_base(16 << 20);
    options.set_max_bytes_for_level_base(64 << 20);
    // Files are small and rarely read, so writes are slowed down late.
    options.set_level_zero_slowdown_writes_trigger(48);
    options.set_level_zero_stop_writes_trigger(96);
    options
}

/// For reading a whole column family once.
pub(super) fn whole_scan() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_verify_checksums(true);
    options.set_readahead_size(2 << 20);
    options
}
