//! WHAT LOGS SHOW: the log format and level of the process.
