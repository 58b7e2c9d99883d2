//! Logs what becomes of a connection, but not too often.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::ConnectError;

/// Least time between two lines above debug level about one connection.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Whether the next event is worth a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    last_line: Option<Duration>,
    held_back: u64,
    /// Whether a line said that the connection is not there.
    told_lost: bool,
}

impl Pace {
    /// A connection was made.
    pub(super) fn restored(&mut self, now: Duration, address: SocketAddr) {
        if std::mem::take(&mut self.told_lost) {
            self.last_line = Some(now);
            tracing::info!(%address, "connection restored");
        } else {
            tracing::debug!(%address, "connected");
        }
    }

    /// A connection was lost.
    pub(super) fn lost(&mut self, now: Duration, address: SocketAddr, cause: &str) {
        if let Some(held_back) = self.line(now) {
            tracing::warn!(%address, cause, held_back, "connection lost");
        } else {
            tracing::debug!(%address, cause, "connection lost");
        }
    }

    /// An attempt to connect failed.
    pub(super) fn failed(&mut self, now: Duration, error: &ConnectError) {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        if let Some(held_back) = self.line(now) {
            tracing::warn!(%error, cause, held_back, "cannot connect");
        } else {
            tracing::debug!(%error, cause, "cannot connect");
        }
    }

    /// Whether bad news is worth a line now, and how many were held back since the last one.
    fn line(&mut self, now: Duration) -> Option<u64> {
        if self
            .last_line
            .is_some_and(|last| now.saturating_sub(last) < LINE_EVERY)
        {
            self.held_back = self.held_back.saturating_add(1);
            return None;
        }
        self.last_line = Some(now);
        self.told_lost = true;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_news_is_told_at_once_then_every_ten_seconds_with_what_was_held_back() {
        let mut pace = Pace::default();
        let told: Vec<Option<u64>> = [0, 1, 9, 10, 11, 25]
            .map(|s| pace.line(Duration::from_secs(s)))
            .to_vec();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_connection_is_called_restored_only_if_its_loss_was_told() {
        let mut pace = Pace::default();
        let address = "127.0.0.1:1".parse().unwrap();
        pace.restored(Duration::ZERO, address);
        assert_eq!(pace, Pace::default());
        pace.lost(Duration::ZERO, address, "test");
        assert!(pace.told_lost);
        pace.restored(Duration::ZERO, address);
        assert!(!pace.told_lost);
    }
}
