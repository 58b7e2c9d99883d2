//! The only reader of time: the monotonic clock, the wall clock, and the machine's boot id.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::limiter::StartClocks;
use crate::types::MonoTime;

/// The machine's monotonic clock now. It counts time in suspension, and all processes of one boot
/// read the same one.
pub fn mono_now() -> MonoTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let ns = u64::try_from(now.tv_nsec).unwrap_or(0);
    MonoTime::from_ns(seconds.saturating_mul(1_000_000_000).saturating_add(ns))
}

/// The wall clock in milliseconds since 1970. It may step; nothing is decided on it but how much
/// of the time away is credited after a reboot.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub(crate) fn wall_now_ms() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's boot id; empty where it cannot be read, which is taken for a reboot.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// All clocks, as a start needs them.
pub(crate) fn start_clocks() -> StartClocks {
    StartClocks {
        mono: mono_now(),
        wall_ms: wall_now_ms(),
        boot_id: boot_id(),
    }
}

/// Resident memory of this process; 0 where it cannot be read.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    pages.unwrap_or(0).saturating_mul(page_bytes)
}
