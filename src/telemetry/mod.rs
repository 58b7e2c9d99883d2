//! WHAT LOGS SHOW: the log format and level of the process, and what may stand in a line.

mod logging;
mod redact;

pub use logging::{LogError, LogFormat, check_level, init};
pub use redact::{Redacted, redacted};
