//! WHAT LOGS SHOW: the log format and level of the process, and what may stand in a line. Metrics are
//! told by the HTTP edge; what several rooms count with is here.

mod durations;
mod logging;
mod redact;

pub(crate) use durations::{BOUNDS_US, DurationCounts, Durations};
pub use logging::{LogError, LogFormat, check_level, init};
pub use redact::{Redacted, redacted};
