//! Helpers for users' tests: a whole server in this process, on a free port.

mod server;

pub use server::{Server, ServerError};
