//! What is counted about connections between nodes, and how often a refusal is logged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::node::clock;

/// Least time between two log lines of one kind: a stranger who tries again and again must not
/// fill a disk.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why somebody was not let in, or was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No certificate of the cluster's authority.
    Handshake,
    /// A certificate whose role may not do this.
    Role,
    /// A node of another cluster, or of one with other slots.
    Cluster,
    /// No version in common.
    Version,
    /// A node that is not what it claims to be: removed, an old or second copy, another's
    /// certificate.
    Identity,
    /// What it sent cannot be read.
    Malformed,
    /// What it sent can be read and cannot be: it was not asked for, is not its to say, contradicts
    /// what is known, or does not add up.
    Senseless,
}

/// Counters since the process began; see [`PeerCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    refused: [Kind; 7],
    pub(super) frames_sent: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) frames_dropped: AtomicU64,
    pub(super) datagrams_sent: AtomicU64,
    pub(super) datagrams_received: AtomicU64,
    pub(super) datagrams_dropped: AtomicU64,
    pub(super) queues_full: AtomicU64,
    pub(super) sessions: AtomicU64,
}

#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    /// When the next one may be logged, in nanoseconds of the monotonic clock.
    log_at: AtomicU64,
    /// How many were not.
    unlogged: AtomicU64,
}

impl PeerCounts {
    /// Everybody who was not let in, or was cut off.
    pub(crate) fn refused(&self) -> u64 {
        let kinds = [
            self.strangers,
            self.wrong_role,
            self.other_cluster,
            self.other_version,
            self.wrong_identity,
            self.malformed,
            self.senseless,
        ];
        kinds.into_iter().fold(0, u64::saturating_add)
    }
}

/// What the status shows about connections between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PeerCounts {
    /// Handshakes that failed, of clients too: no certificate, or another authority's.
    pub(crate) strangers: u64,
    /// Certificates whose role may not speak what they asked for, of clients too.
    pub(crate) wrong_role: u64,
    /// Nodes of other clusters.
    pub(crate) other_cluster: u64,
    /// Nodes without a version in common.
    pub(crate) other_version: u64,
    /// Nodes that were not what they claimed to be.
    pub(crate) wrong_identity: u64,
    /// Hellos and frames that cannot be read.
    pub(crate) malformed: u64,
    /// Messages, gossip and transfers that can be read and cannot be.
    pub(crate) senseless: u64,
    /// Control frames sent.
    pub(crate) frames_sent: u64,
    /// Control frames received.
    pub(crate) frames_received: u64,
    /// Control frames that came outside a session, or could not be kept.
    pub(crate) frames_dropped: u64,
    /// Datagrams of gossip sent.
    pub(crate) datagrams_sent: u64,
    /// Datagrams of gossip received.
    pub(crate) datagrams_received: u64,
    /// Datagrams that did not fit, or came faster than they were read.
    pub(crate) datagrams_dropped: u64,
    /// Connections made anew because a peer did not read what it was sent.
    pub(crate) queues_full: u64,
    /// Sessions begun.
    pub(crate) sessions: u64,
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts a refusal and logs it, unless one of its kind was logged a moment ago.
    pub(super) fn refused(&self, why: Refused, peer: &dyn std::fmt::Display, reason: &str) {
        let Some(kind) = self.refused.get(why as usize) else {
            return;
        };
        add(&kind.count);
        let now = clock::mono_now();
        let log_at = kind.log_at.load(Ordering::Relaxed);
        let next = now.plus(LOG_EVERY).as_ns();
        let mine = now.as_ns() >= log_at
            && kind
                .log_at
                .compare_exchange(log_at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let unlogged = kind.unlogged.swap(0, Ordering::Relaxed);
            tracing::warn!(%peer, ?why, reason, unlogged, "what a peer sent was refused");
        } else {
            add(&kind.unlogged);
        }
    }

    pub(super) fn snapshot(&self) -> PeerCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = |why: Refused| {
            let kind = self.refused.get(why as usize);
            kind.map_or(0, |kind| load(&kind.count))
        };
        PeerCounts {
            strangers: refused(Refused::Handshake),
            wrong_role: refused(Refused::Role),
            other_cluster: refused(Refused::Cluster),
            other_version: refused(Refused::Version),
            wrong_identity: refused(Refused::Identity),
            malformed: refused(Refused::Malformed),
            senseless: refused(Refused::Senseless),
            frames_sent: load(&self.frames_sent),
            frames_received: load(&self.frames_received),
            frames_dropped: load(&self.frames_dropped),
            datagrams_sent: load(&self.datagrams_sent),
            datagrams_received: load(&self.datagrams_received),
            datagrams_dropped: load(&self.datagrams_dropped),
            queues_full: load(&self.queues_full),
            sessions: load(&self.sessions),
        }
    }
}
