//! Signals: when to read the policies again, and when to stop.

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Read the policies again.
    Reload,
    /// Stop; the name of the signal.
    Stop(&'static str),
}

/// The signals that the node understands.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// Hears signals from its creation on, and keeps each until it is asked for: none that comes while
/// the node starts, or between two waits, ends the process or is lost.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub(crate) runtime: Runtime,
    pub(crate) signals: Signals,
}

impl Hearing {
    /// Takes the signals over.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { Signals::listen() })?;
        Ok(Self { runtime, signals })
    }
}

impl Signals {
    /// Takes the signals over; must be called inside a runtime.
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
        }
    }
}
