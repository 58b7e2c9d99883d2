//! Which policy set is in force: the one that the whole cluster agrees on, or the node's own file.
//!
//! Pure: inputs in, effects out. The edge stores, enforces and spreads.
//!
//! - [`versioned`]: a set with its version, and its bytes in `meta` and on the wire.
//! - [`rule`]: which of two sets wins, and what a changed file or an applied text does.

pub(crate) mod rule;
pub(crate) mod versioned;

#[cfg(test)]
mod tests;
