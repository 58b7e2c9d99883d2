//! Requests and answers on `drl-admin/1`, beside those of `drl-client/1`.
//!
//! On an admin connection the first stream carries the hello and nothing else. Each further stream
//! carries one [`AdminRequest`] frame and one [`AdminResponse`] frame, which may be as long as
//! [`super::frame::ADMIN_ANSWER_BYTES_MAX`]; a client request travels inside
//! `AdminRequest::Client`.

use serde::{Deserialize, Serialize};

use super::client::{RequestBody, ResponseBody, Target};
use super::error::WireError;

/// What an admin asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AdminRequest<'a> {
    /// Anything that a client may ask; answered by `Client`.
    Client(#[serde(borrow)] RequestBody<'a>),
    /// The state of one key; answered by `Inspected`.
    Inspect(#[serde(borrow)] Target<'a>),
    /// The policy set; answered by `Policies`.
    Policies,
    /// How the node is; answered by `Status`.
    Status,
}

/// What the node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AdminResponse {
    /// The answer that a client would get.
    Client(ResponseBody),
    /// A key's state.
    Inspected(Inspected),
    /// The policies, by name.
    Policies(Vec<PolicyLine>),
    /// How the node is.
    Status(Box<Status>),
    /// The request was not carried out.
    Failed(WireError),
}

/// A key's state under a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inspected {
    /// The key's slot.
    pub slot: u16,
    /// The slot clock now; bucket starts are on the same clock.
    pub now_ms: u64,
    /// One entry a limit of the policy, in its order.
    pub limits: Vec<InspectedLimit>,
    /// Open reservations: id, permits, and milliseconds until they expire.
    pub reservations: Vec<(u64, u64, u64)>,
    /// Time left in quarantine; 0 if the key is in none.
    pub quarantine_ms: u64,
}

/// What one limit of a key has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InspectedLimit {
    /// Permits in any window.
    pub permits: u64,
    /// The window's length.
    pub window_ms: u64,
    /// Width of a bucket.
    pub bucket_ms: u64,
    /// The counting buckets, oldest first: start on the slot clock, permits granted.
    pub buckets: Vec<(u64, u64)>,
}

/// One policy as the node has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyLine {
    /// Its name.
    pub name: String,
    /// Its limits, as written.
    pub limits: Vec<String>,
    /// `deny` or `allow`.
    pub on_failure: String,
    /// `none`, `process` or `fsync`.
    pub durability: String,
    /// Whether it only counts and reports.
    pub shadow: bool,
    /// Number of overrides.
    pub overrides: u32,
    /// Whether a request brought it along.
    pub carried: bool,
}

/// How a node is. Counters start at zero with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Version of the software.
    pub version: String,
    /// Id of the node, as printed.
    pub node: String,
    /// How often the node has started on this directory.
    pub boot_counter: u64,
    /// Since the process began to serve.
    pub uptime_ms: u64,
    /// Key states in memory.
    pub keys: u64,
    /// Most key states in memory.
    pub keys_max: u64,
    /// Bytes of key states in memory.
    pub table_bytes: u64,
    /// Most bytes of key states in memory.
    pub table_bytes_max: u64,
    /// Resident memory of the process.
    pub resident_bytes: u64,
    /// Checks decided.
    pub checks: u64,
    /// Checks granted.
    pub grants: u64,
    /// Checks denied.
    pub denials: u64,
    /// Answers given without the counts.
    pub degraded: u64,
    /// Checks answered by an error.
    pub errors: u64,
    /// Requests turned away because there was too much work.
    pub overloaded: u64,
    /// Key states evicted to disk.
    pub evictions: u64,
    /// Commits written.
    pub commits: u64,
    /// Number of the last commit written.
    pub committed: u64,
    /// Number of the last commit synced to disk.
    pub synced: u64,
    /// Keys in quarantine.
    pub quarantined_keys: u64,
    /// Time left of a quarantine of the whole node; 0 if there is none.
    pub quarantine_ms: u64,
    /// `ok`, or what failed.
    pub storage: String,
    /// Where the data is; `memory` if it is not kept.
    pub data_dir: String,
    /// Open connections.
    pub connections: u64,
    /// Policies known, those brought along by requests included.
    pub policies: u64,
    /// Most policies at once.
    pub policies_max: u64,
    /// Names of the policies by durability mode, none, process, fsync: how many there are of each.
    pub durability: [u64; 3],
}
