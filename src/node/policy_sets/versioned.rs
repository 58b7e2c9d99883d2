//! A policy set with its version, and its bytes.
//!
//! The same bytes are kept in `meta` under [`META_NAME`] and sent to other nodes:
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | crc32 of all that follows (u32 LE) |
//! | 1 | format, 1 |
//! | 8 | version (u64 LE) |
//! | 8 | hash of the set (u64 LE) |
//! | 4 | length of the text in bytes (u32 LE) |
//! | rest | the `limits.toml`, UTF-8 |
//!
//! The hash is xxh3 of the set written anew, every key shown, and not of the text: what a comment,
//! blanks or the order of keys say does not matter to a check. It is made once, by the node that made
//! the version, and never made again by others: a later version of the software may write a set in
//! other words, and nodes of both must go on to agree.

use std::cmp::Ordering;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::{ConfigError, PolicyFile, render_policies};
use crate::limiter::policy::PolicySet;
use crate::protocol::admin;

/// Name of the set in `meta`.
pub(crate) const META_NAME: &str = "policy_set";

/// Longest text that can be spread: with its head it fits one frame of a megabyte. A node that is
/// alone may have a longer file.
pub(crate) const SPREAD_BYTES_MAX: usize = 1024 * 1024 - 1024;

/// The only format there is.
const FORMAT: u8 = 1;

/// Bytes before the text.
const HEAD_BYTES: usize = 25;

/// A policy set that was, or may be, in force in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionedSet {
    /// Counts the sets of the cluster; 0 is a node's own file before the cluster has told its set.
    pub(crate) version: u64,
    /// See the module.
    pub(crate) hash: u64,
    /// The `limits.toml`.
    pub(crate) text: Arc<str>,
    /// What the text says.
    pub(crate) set: Arc<PolicySet>,
}

/// Bytes are no policy set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPolicySet {
    /// They are damaged, or were never one.
    #[error("the stored or received policy set is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// They are of a later version of the software.
    #[error("the policy set has format {found}, and this version reads {FORMAT}; update this node")]
    Format {
        /// The format.
        found: u8,
    },
    /// The text cannot be read: a later version of the software knows keys that this one does not.
    #[error("the policy set of the cluster cannot be read; does a later version know more?")]
    Text(#[source] ConfigError),
}

impl VersionedSet {
    /// The set that `text` says, as `version`; `file` is the name for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake of the text.
    pub(crate) fn parse(version: u64, file: &str, text: &str) -> Result<Self, ConfigError> {
        let set = PolicyFile::parse(file, text)?.value;
        Ok(Self {
            version,
            hash: hash_of(&set),
            text: text.into(),
            set: Arc::new(set),
        })
    }

    /// The same set as another version.
    pub(super) fn at(&self, version: u64) -> Self {
        Self {
            version,
            ..self.clone()
        }
    }

    /// The bytes for `meta` and the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.text.len());
        bytes.extend_from_slice(&[0; 4]);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(self.text.as_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The reverse of [`VersionedSet::encode`].
    ///
    /// # Errors
    /// [`BadPolicySet`]; nothing of the bytes may be used then.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadPolicySet> {
        let damaged = |what| BadPolicySet::Damaged { what };
        let (crc, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| damaged("too short"))?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
            return Err(damaged("its checksum does not fit"));
        }
        let (&format, rest) = rest.split_first().ok_or_else(|| damaged("too short"))?;
        if format != FORMAT {
            return Err(BadPolicySet::Format { found: format });
        }
        let (version, rest) = word(rest).ok_or_else(|| damaged("too short"))?;
        let (hash, rest) = word(rest).ok_or_else(|| damaged("too short"))?;
        let (length, text) = rest
            .split_first_chunk()
            .ok_or_else(|| damaged("too short"))?;
        if u32::try_from(text.len()) != Ok(u32::from_le_bytes(*length)) {
            return Err(damaged("its length does not fit"));
        }
        let text = std::str::from_utf8(text).map_err(|_| damaged("it is not UTF-8"))?;
        let read = PolicyFile::parse("policy set of the cluster", text);
        Ok(Self {
            version,
            hash,
            text: text.into(),
            set: Arc::new(read.map_err(BadPolicySet::Text)?.value),
        })
    }

    /// The set as admins see it.
    pub(crate) fn to_admin(&self) -> admin::PolicyFile {
        admin::PolicyFile {
            version: self.version,
            hash: self.hash,
            text: self.text.as_ref().to_owned(),
        }
    }

    /// The order in which sets win: the later version, and of two that were made at the same time
    /// the higher hash, then the higher text, so that all nodes choose the same.
    pub(crate) fn rank(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.version, it.hash);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.text.cmp(&other.text))
    }
}

/// See the module.
fn hash_of(set: &PolicySet) -> u64 {
    // 0 stands for "not known" where nodes tell each other their hashes.
    xxh3_64(render_policies(set).as_bytes()).max(1)
}

fn word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*word), rest))
}
