//! Doors for benches and the simulator: not stable, not documented, and behind a feature.

#[cfg(feature = "server")]
pub use crate::sim::{Coverage, Outcome, Plan, Violation, mutations, not_switched_off};
