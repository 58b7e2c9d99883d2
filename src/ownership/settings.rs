//! The bounds and waits of ownership, each with its reason, and the small generator of jitter.

use std::time::Duration;

/// Most slots in one message that tells much of each: 128 of them, with five replicas each, stay
/// below a frame of 64 KiB.
pub(super) const MESSAGE_SLOTS_MAX: usize = 128;
/// Most records in one `Chosen`: 256, with five replicas each, stay below a frame of 64 KiB.
pub(super) const RECORDS_MAX: usize = 256;
/// Most slots in one `Become`: 512 stay far below a frame of 64 KiB.
pub(super) const BECOMING_MAX: usize = 512;
/// Most answers that are owed at a time, while they wait for the disk; beyond, a request is refused
/// unheard and its sender tries again.
pub(super) const OWED_MAX: usize = 1024;
/// How far above all that was seen a counter in a message may be. An honest one is above by a few;
/// this bound keeps a liar from using up the numbers.
pub(super) const COUNTER_JUMP_MAX: u64 = 1 << 32;

/// How long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Most slots that move in one batch: small enough that a seal lasts a few milliseconds, and that
    /// each of its messages is one frame, since a batch whose answers came in parts would be fetched,
    /// installed and accepted in parts.
    pub(crate) batch_slots_max: usize,
    /// Most batches that move to this node at a time, each from another owner.
    pub(crate) batches_max: usize,
    /// After a change of targets, until the first move: several nodes often come and go at once.
    pub(crate) settle: Duration,
    /// How long the answer to a seal or accept may take: a few synced writes of a busy disk.
    pub(crate) answer: Duration,
    /// How long an owner stays sealed without a newer configuration before it takes the slot back.
    pub(crate) deaf: Duration,
    /// How long an owner that does not serve waits before it runs the procedure.
    pub(crate) resume: Duration,
    /// Wait after a first failure; doubled at each further one.
    pub(crate) retry_min: Duration,
    /// Longest such wait.
    pub(crate) retry_max: Duration,
    /// How long an owner of which this node is a replica may be silent, before others are asked.
    pub(crate) silence: Duration,
    /// How long those who are asked about a silent owner may take.
    pub(crate) ask: Duration,
    /// How much later the next replica by rank takes over: time for the one before to be done.
    pub(crate) rank: Duration,
    /// Most slots of one copy to a replica.
    pub(crate) catch_up_slots_max: usize,
    /// Most copies to this node at a time, each from another owner.
    pub(crate) catch_ups_max: usize,
    /// How often one peer is told what this node knows.
    pub(crate) digest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_slots_max: 64,
            batches_max: 4,
            settle: Duration::from_millis(300),
            answer: Duration::from_secs(2),
            deaf: Duration::from_secs(1),
            resume: Duration::from_millis(200),
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(5),
            silence: Duration::from_secs(1),
            ask: Duration::from_millis(300),
            rank: Duration::from_millis(300),
            catch_up_slots_max: 128,
            catch_ups_max: 4,
            digest: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// The wait after so many failures in a row.
    pub(super) fn retry_after(&self, failures: u8) -> Duration {
        let doubled = 1u32
            .checked_shl(u32::from(failures.saturating_sub(1)))
            .unwrap_or(u32::MAX);
        self.retry_min.saturating_mul(doubled).min(self.retry_max)
    }
}

/// `SplitMix64`: enough to keep nodes from trying at the same time.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `wait` and up to half as much again.
    pub(super) fn stretch(&mut self, wait: Duration) -> Duration {
        let half_ms = u64::try_from(wait.as_millis() / 2).unwrap_or(u64::MAX);
        let extra_ms = self.next().checked_rem(half_ms).unwrap_or(0);
        wait.saturating_add(Duration::from_millis(extra_ms))
    }
}
