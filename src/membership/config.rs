//! How the members of a cluster watch each other: the settings, each with its reason.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

use super::swim::PACKET_BYTES_MAX;

/// How the members watch each other. The same for all nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SwimConfig {
    /// How often a node probes another one. Default: 1 s.
    pub(crate) probe_period: Duration,
    /// How long it waits before it probes through others. Default: 300 ms, so that an answer by
    /// that way has twice as long until the period ends.
    pub(crate) probe_wait: Duration,
    /// How long a suspect has to say that it lives. Default: 3 s, which is 15 rounds of gossip; at
    /// a tenth of the messages lost it still hears of it and is heard for certain.
    pub(crate) suspicion: Duration,
    /// How often news are passed on. Default: 200 ms.
    pub(crate) gossip_period: Duration,
    /// How long a member that is down is remembered. Default: 1 h, long after the last packet that
    /// could speak of it as living has gone.
    pub(crate) remember_down: Duration,
}

impl Default for SwimConfig {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_wait: Duration::from_millis(300),
            suspicion: Duration::from_secs(3),
            gossip_period: Duration::from_millis(200),
            remember_down: Duration::from_secs(3600),
        }
    }
}

/// As many as a set or a count may be chosen from; never zero.
const fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count.saturating_sub(1))
}

impl SwimConfig {
    /// The same in the library's words.
    pub(super) fn foca(self) -> Config {
        let every = |frequency, members| {
            Some(PeriodicParams {
                frequency,
                num_members: at_least_one(members),
            })
        };
        Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_wait,
            num_indirect_probes: at_least_one(3),
            // Each node passes each piece of news on so often; with 30 nodes 5 would do.
            max_transmissions: NonZeroU8::MIN.saturating_add(9),
            suspect_to_down_after: self.suspicion,
            remove_down_after: Some(self.remember_down),
            max_packet_size: at_least_one(PACKET_BYTES_MAX),
            notify_down_members: true,
            // What gossip has missed is made good within some periods.
            periodic_announce: every(Duration::from_secs(10), 1),
            // A cut network that is whole again is noticed within some periods.
            periodic_announce_to_down_members: every(Duration::from_secs(5), 2),
            periodic_gossip: every(self.gossip_period, 3),
        }
    }
}
