//! Time as the client counts it: since the client was made.
//!
//! `node::clock` is not there in a client alone, so this is the one place of the room that reads
//! the clock; everything else is handed a [`Duration`] since the client's beginning.

use std::time::Duration;

use tokio::time::Instant;

/// Tells the time since it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a client alone has no node::clock"
    )]
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }
}
