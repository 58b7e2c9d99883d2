//! Recovery: rows, then the journal in order; and what may be missing.
//!
//! A commit record holds absolute counts, so replaying one that a row already includes is harmless.
//! What recovery cannot vouch for it says, and the node puts it in quarantine:
//!
//! - a row that does not read: that state ([`Recovery::bad_rows`]), or a range of states
//!   ([`Recovery::unreadable`]);
//! - a commit record that does not read or is missing, or a last commit below the watermark: any
//!   state at all ([`Recovery::lost_commits`]).

use super::record;
use super::store::{Found, Scan, Store, StoreError};
use crate::types::StateId;

/// Most bad rows that are told one by one; more are told as all states.
pub(crate) const BAD_ROWS_MAX: usize = 4096;

/// Why a row or record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct BadRecord {
    /// In a few words.
    pub(crate) reason: String,
}

/// Takes what recovery reads: first all rows, then all commit records in order.
pub(crate) trait RecoverySink {
    /// Takes one row.
    ///
    /// # Errors
    /// [`BadRecord`] if its checksum, id or content is wrong; the state is then quarantined.
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord>;

    /// Takes one commit record, as [`super::committer::CommitSource::take_commit`] packed it.
    ///
    /// # Errors
    /// [`BadRecord`] if its checksum, number or content is wrong; all states are then quarantined.
    fn replay(&mut self, number: u64, record: &[u8]) -> Result<(), BadRecord>;
}

/// What recovery read, and what it cannot vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Number of the next commit: above all that were ever acknowledged, as far as is known.
    pub(crate) next_commit: u64,
    /// Rows that were loaded.
    pub(crate) rows: u64,
    /// Commit records that were replayed.
    pub(crate) records: u64,
    /// States whose row cannot be used, at most [`BAD_ROWS_MAX`] of them.
    pub(crate) bad_rows: Vec<StateId>,
    /// Rows of states strictly between these two may be missing; `None` is either end.
    pub(crate) unreadable: Option<(Option<StateId>, Option<StateId>)>,
    /// Acknowledged changes of any state may be missing, and why; the first reason found.
    pub(crate) lost_commits: Option<Lost>,
    /// Part of the journal cannot be read at all.
    pub(crate) journal_is_broken: bool,
    /// The last process did not close the store; unsynced commits are kept if the machine went on
    /// running.
    pub(crate) unclean: bool,
    /// The machine was started anew since; with `unclean` this may have been a power loss, and up
    /// to the last second's commits may be missing.
    pub(crate) rebooted: bool,
}

/// Why any state's changes may be missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// A commit record cannot be used.
    #[error("commit record {number} is damaged: {reason}")]
    BadCommit {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A commit record names one written before it that is not there.
    #[error("commit record {missing} is missing before {number}")]
    Gap {
        /// The missing one.
        missing: u64,
        /// The one that names it.
        number: u64,
    },
    /// Part of the journal cannot be read.
    #[error("the journal cannot be read behind commit record {after}")]
    Unreadable {
        /// The last record that can be.
        after: u64,
    },
    /// The last commit is below the one that was synced.
    #[error("the last commit record is {last}, but {synced} was synced: later ones are lost")]
    BelowWatermark {
        /// Number of the last commit there is.
        last: u64,
        /// What the watermark says.
        synced: u64,
    },
    /// The watermark is missing, so that lost commits would not be noticed.
    #[error("the watermark file is missing or damaged, so commits may be lost")]
    NoWatermark,
    /// RocksDB's log was damaged and cut off there.
    #[error("the write-ahead log was damaged and is lost from there on")]
    LogDamaged,
    /// There were more than [`BAD_ROWS_MAX`] bad rows.
    #[error("more than {BAD_ROWS_MAX} state rows are damaged")]
    ManyBadRows,
}

impl Recovery {
    /// Whether a power loss may have taken commits that were not synced yet.
    pub(crate) fn may_have_lost_power(&self) -> bool {
        self.unclean && self.rebooted
    }

    /// Whether everything that was acknowledged is known to be here.
    pub(crate) fn is_whole(&self) -> bool {
        self.bad_rows.is_empty()
            && self.unreadable.is_none()
            && self.lost_commits.is_none()
            && !self.may_have_lost_power()
    }
}

/// Reads all that `store` holds into `sink`, and judges it.
///
/// # Errors
/// [`StoreError`] if the store cannot be read at all; damage is told in [`Recovery`] instead.
pub(crate) fn recover<S: Store + ?Sized>(
    store: &S,
    sink: &mut impl RecoverySink,
) -> Result<Recovery, StoreError> {
    let found = store.found();
    let mut recovery = Recovery {
        next_commit: 1,
        rows: 0,
        records: 0,
        bad_rows: Vec::new(),
        unreadable: None,
        lost_commits: None,
        journal_is_broken: false,
        unclean: !found.created && found.mark.is_none_or(|mark| !mark.clean),
        rebooted: found.mark.is_some_and(|mark| mark.boot != found.boot),
    };
    recovery.judge_found(found);
    recovery.load_rows(store, sink)?;
    let last = recovery.replay_journal(store, sink)?;
    let synced = found.mark.map_or(0, |mark| mark.synced);
    if last < synced {
        recovery.lose(Lost::BelowWatermark { last, synced });
    }
    recovery.next_commit = last.max(synced).saturating_add(1);
    Ok(recovery)
}

impl Recovery {
    fn lose(&mut self, lost: Lost) {
        self.lost_commits.get_or_insert(lost);
    }

    fn judge_found(&mut self, found: Found) {
        if found.salvaged {
            self.lose(Lost::LogDamaged);
        }
        if !found.created && found.mark.is_none() {
            self.lose(Lost::NoWatermark);
        }
    }

    fn load_rows<S: Store + ?Sized>(
        &mut self,
        store: &S,
        sink: &mut impl RecoverySink,
    ) -> Result<(), StoreError> {
        let scan = store.scan_states(&mut |id, row| match sink.load_row(id, row) {
            Ok(()) => self.rows += 1,
            Err(bad) if self.bad_rows.len() < BAD_ROWS_MAX => {
                tracing::warn!(state = %id, reason = bad.reason, "a state row is damaged");
                self.bad_rows.push(id);
            }
            Err(_) => self.lose(Lost::ManyBadRows),
        })?;
        if let Scan::Broken { after, before } = scan {
            self.unreadable = Some((after, before));
        }
        Ok(())
    }

    /// Replays the journal; the number of the last commit there is.
    fn replay_journal<S: Store + ?Sized>(
        &mut self,
        store: &S,
        sink: &mut impl RecoverySink,
    ) -> Result<u64, StoreError> {
        let floor = store.journal_floor()?;
        let mut last = floor;
        let mut chain = None;
        let scan = store.scan_journal(&mut |number, stored| {
            if number <= floor {
                // A dropped record whose file is still there.
                return;
            }
            last = last.max(number);
            match replay_one(sink, number, stored) {
                Ok(previous) => {
                    self.records += 1;
                    if chain.map_or(previous > floor, |before| previous != before) {
                        self.lose(Lost::Gap {
                            missing: previous,
                            number,
                        });
                    }
                }
                Err(bad) => self.lose(Lost::BadCommit {
                    number,
                    reason: bad.reason,
                }),
            }
            chain = Some(number);
        })?;
        if let Scan::Broken { after, .. } = scan {
            self.journal_is_broken = true;
            self.lose(Lost::Unreadable {
                after: after.unwrap_or(floor),
            });
        }
        Ok(last)
    }
}

fn replay_one(sink: &mut impl RecoverySink, number: u64, stored: &[u8]) -> Result<u64, BadRecord> {
    let Some((previous, record)) = record::open(number, stored) else {
        let reason = "its head does not match its number".to_owned();
        return Err(BadRecord { reason });
    };
    sink.replay(number, record)?;
    Ok(previous)
}
