//! `pb.gubernator.V1`, so that who asks Gubernator can ask here.
//!
//! Both algorithms are answered by the sliding window: at most `limit` in any `duration`. A request's
//! `name` is the name of a policy that the request brings along, so `allow_request_limits` must be on;
//! its `unique_key` is the key. `burst` and `metadata` are not looked at.
//!
//! | in a request | here |
//! |---|---|
//! | `hits` above 0 | counted if all of them pass |
//! | `hits` 0 | looks; `OVER_LIMIT` if nothing is left |
//! | `hits` below 0 | given back from what still counts, the oldest first, never below nothing |
//! | `RESET_REMAINING` | forgets what was counted; `hits` are not looked at |
//! | `DRAIN_OVER_LIMIT` | who is denied has what is left counted |
//! | `GLOBAL`, `MULTI_REGION`, `DURATION_IS_GREGORIAN` | an error in the item |
//! | `NO_BATCHING`, `BATCHING` | mean nothing |
//! | `limit` 0 or less, `duration` 0 or less | answered as Gubernator does, without counting |
//!
//! - [`messages`]: the messages, with their field numbers.
//! - [`plan`]: what each item asks for.
//! - [`service`]: asks and answers; over gRPC.
//! - [`json`]: the same as Gubernator's gateway has it.

pub(super) mod json;
mod messages;
mod plan;
mod service;
#[cfg(test)]
mod tests;

pub(super) use service::{GubernatorEdge, GubernatorServer, SERVICE};
