//! IS IT WRITTEN: the store, group commit, checkpoints, recovery, and the fence that closes the
//! node when a write fails.
//!
//! A directory is opened ([`rocks`]) and read ([`recovery`]); then decisions wait in [`committer`]
//! until their commit is kept, and every few seconds a [`checkpoint`] writes what changed as state
//! rows and drops the journal behind it. The first failed write or sync closes the [`fence`].

pub(crate) mod store;

pub(crate) mod committer;
mod record;
pub(crate) mod replicated;
mod syncer;
mod tickets;
pub(crate) mod timings;

pub(crate) mod checkpoint;
pub(crate) mod fence;
pub(crate) mod recovery;
pub(crate) mod replace;
pub(crate) mod watermark;

pub(crate) mod memory;

mod compaction;
mod filer;
pub(crate) mod inspect;
pub(crate) mod layout;
mod log_frames;
mod mend;
mod meta;
pub(crate) mod open;
pub(crate) mod rocks;
mod rocks_birth;
mod rocks_error;
mod rocks_slots;
mod scan;
mod settings;
mod upgrade;

pub(crate) use meta::Identity;

#[cfg(test)]
mod tests;
