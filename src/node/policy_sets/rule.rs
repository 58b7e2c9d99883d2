//! Which set is in force.
//!
//! - A node that is **alone** follows its file: what the file says when the node starts, and each
//!   time the file changes, is the next version.
//! - In a cluster of **several** nodes the stored set is in force on all of them. A file that says
//!   something else is reported and changes nothing, until it is applied.
//! - A file that **cannot be used** changes nothing: the set in force stays, at a start the stored one.
//! - A node that **joins** has no stored set. Its file holds as version 0 until the cluster has told
//!   its own, which any other version beats.
//! - Of two sets the one of higher [`VersionedSet::rank`] wins. It is an order on sets alone, so all
//!   nodes come to the same one, in whatever order they hear of them.
//! - That others came or left changes no policy: only a start, a file, an applied or a received set
//!   does.

use std::cmp::Ordering;
use std::sync::Arc;

use super::versioned::{SPREAD_BYTES_MAX, VersionedSet};
use crate::config::ConfigError;
use crate::limiter::policy::PolicySet;

/// Whether the cluster has other nodes; those that are down count, those that have left do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    /// None.
    Alone,
    /// One or more.
    Several,
}

/// What is to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyEffect {
    /// Write it to `meta` and sync, before what follows.
    Store(VersionedSet),
    /// Let it decide.
    Enforce(Arc<PolicySet>),
    /// Tell all other nodes this version and hash; who lacks it asks for it.
    Spread(VersionedSet),
    /// The state of the file has changed: for the log and the status.
    TellFile(FileState),
}

/// What the node's file is to the set in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    /// It says the same.
    Same,
    /// It says something else, and does not hold.
    Differs,
    /// It cannot be used, for this reason.
    Broken(Arc<str>),
}

/// Why a text is not applied. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It has mistakes.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// It is too long to be sent to other nodes.
    #[error("the policies have {bytes} bytes; a cluster takes {SPREAD_BYTES_MAX} at most")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The cluster's set was not heard of yet.
    #[error("this node has just joined and does not know the cluster's policies; ask again soon")]
    NotJoined,
}

/// The set in force, and what the file says.
#[derive(Debug)]
pub(crate) struct PolicySets {
    peers: Peers,
    in_force: VersionedSet,
    /// Or why it cannot be used.
    file: Result<VersionedSet, Arc<str>>,
    told: FileState,
}

impl PolicySets {
    /// A node starts with what it has stored, if anything, and its file; the effects come first of
    /// all. The version of `file` does not matter.
    pub(crate) fn start(
        peers: Peers,
        stored: Option<VersionedSet>,
        file: VersionedSet,
    ) -> (Self, Vec<PolicyEffect>) {
        let is_new = stored.is_none();
        let in_force = stored.unwrap_or_else(|| file.at(0));
        let next = file.at(in_force.version.saturating_add(1));
        let mut sets = Self {
            peers,
            in_force,
            file: Ok(file),
            told: FileState::Same,
        };
        let follows = peers == Peers::Alone && (is_new || sets.file_state() == FileState::Differs);
        let mut effects = if follows {
            sets.put(next)
        } else {
            vec![PolicyEffect::Enforce(Arc::clone(&sets.in_force.set))]
        };
        effects.extend(sets.tell_file());
        (sets, effects)
    }

    /// The same with a file that cannot be used for the reason `why`.
    pub(crate) fn start_without_file(
        peers: Peers,
        stored: VersionedSet,
        why: Arc<str>,
    ) -> (Self, Vec<PolicyEffect>) {
        let mut sets = Self {
            peers,
            in_force: stored,
            file: Err(why),
            told: FileState::Same,
        };
        let mut effects = vec![PolicyEffect::Enforce(Arc::clone(&sets.in_force.set))];
        effects.extend(sets.tell_file());
        (sets, effects)
    }

    /// The set in force.
    pub(crate) const fn in_force(&self) -> &VersionedSet {
        &self.in_force
    }

    /// What the file is to it.
    pub(crate) fn file_state(&self) -> FileState {
        match &self.file {
            Ok(file) if file.set == self.in_force.set => FileState::Same,
            Ok(_) => FileState::Differs,
            Err(why) => FileState::Broken(Arc::clone(why)),
        }
    }

    /// Other nodes came, or all have left. A node that never heard of a cluster's set then begins
    /// with its file.
    pub(crate) fn peers(&mut self, peers: Peers) -> Vec<PolicyEffect> {
        self.peers = peers;
        if peers == Peers::Alone && self.in_force.version == 0 {
            let first = self.file.as_ref().unwrap_or(&self.in_force).at(1);
            return self.put(first);
        }
        Vec::new()
    }

    /// The file says this now.
    pub(crate) fn file_changed(&mut self, file: VersionedSet) -> Vec<PolicyEffect> {
        let next = file.at(self.in_force.version.saturating_add(1));
        self.file = Ok(file);
        let follows = self.peers == Peers::Alone && self.file_state() == FileState::Differs;
        let mut effects = if follows { self.put(next) } else { Vec::new() };
        effects.extend(self.tell_file());
        effects
    }

    /// The file cannot be used now, for this reason.
    pub(crate) fn file_broken(&mut self, why: Arc<str>) -> Vec<PolicyEffect> {
        self.file = Err(why);
        self.tell_file().into_iter().collect()
    }

    /// An admin wants the set of this text in force. What says the same as the set in force changes
    /// nothing, not even the version.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub(crate) fn apply(&mut self, text: &str) -> Result<Vec<PolicyEffect>, ApplyError> {
        if text.len() > SPREAD_BYTES_MAX {
            return Err(ApplyError::TooLong { bytes: text.len() });
        }
        let version = self.in_force.version;
        if version == 0 {
            return Err(ApplyError::NotJoined);
        }
        let next = VersionedSet::parse(version.saturating_add(1), "the applied file", text)?;
        if next.set == self.in_force.set {
            return Ok(Vec::new());
        }
        let mut effects = self.put(next);
        effects.extend(self.tell_file());
        Ok(effects)
    }

    /// Another node has this set.
    pub(crate) fn received(&mut self, other: VersionedSet) -> Vec<PolicyEffect> {
        if other.rank(&self.in_force) != Ordering::Greater {
            return Vec::new();
        }
        let mut effects = self.put(other);
        effects.extend(self.tell_file());
        effects
    }

    /// Whether a set of this version and hash, which another node has told of, should be asked for.
    pub(crate) fn lacks(&self, version: u64, hash: u64) -> bool {
        (version, hash) > (self.in_force.version, self.in_force.hash)
    }

    /// Durable first: what was enforced or told of must not be forgotten by a restart.
    fn put(&mut self, next: VersionedSet) -> Vec<PolicyEffect> {
        assert!(
            next.rank(&self.in_force) == Ordering::Greater,
            "the set in force only rises"
        );
        let same = next.set == self.in_force.set && self.in_force.version > 0;
        self.in_force = next.clone();
        let enforce = (!same).then(|| PolicyEffect::Enforce(Arc::clone(&next.set)));
        let store = PolicyEffect::Store(next.clone());
        let spread = PolicyEffect::Spread(next);
        [Some(store), enforce, Some(spread)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The file's state, if it is another one than was told last.
    fn tell_file(&mut self) -> Option<PolicyEffect> {
        let state = self.file_state();
        let changed = state != self.told;
        self.told = state.clone();
        changed.then_some(PolicyEffect::TellFile(state))
    }
}
