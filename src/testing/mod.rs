//! Helpers for users' tests: a whole server in this process, on a free port.
