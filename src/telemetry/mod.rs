//! WHAT LOGS SHOW: the log format and level of the process, and what may stand in a line. Metrics are
//! told by the HTTP edge; what several rooms count with is here.

mod durations;
mod logging;
mod redact;
#[cfg(feature = "otlp")]
mod traces;

pub(crate) use durations::{BOUNDS_US, DurationCounts, Durations};
pub use logging::{LogError, LogFormat, Traces, check_level, init, init_with_traces};
pub use redact::{Redacted, redacted};
#[cfg(feature = "otlp")]
pub(crate) use traces::request_span;
