//! Requests and answers on `drl-admin/1`, beside those of `drl-client/1`.
//!
//! On an admin connection the first stream carries the hello and nothing else. Each further stream
//! carries one [`AdminRequest`] frame and one [`AdminResponse`] frame, which may each be as long as
//! [`super::frame::ADMIN_ANSWER_BYTES_MAX`]; a client request travels inside
//! `AdminRequest::Client`.

use serde::{Deserialize, Serialize};

use super::client::{RequestBody, ResponseBody, Target};
use super::error::WireError;
use super::replicas::{ReplicaLink, RingReplicas, SlotView};

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
    /// The cluster as this node sees it; answered by `Ring`.
    Ring,
    /// Who owns a key; answered by `Owner`.
    Owner(&'a str),
    /// Change a node's part in the cluster; answered by `Done`.
    Node(NodeCommand),
    /// The text of the policy set in force, and its place; answered by `PolicyFile`.
    PolicyFile,
    /// Put this text of a `limits.toml` in force on the whole cluster; answered by `Applied`.
    PolicyApply(&'a str),
    /// What the node knows and holds of a slot; answered by `Slot`.
    Slot(u16),
    /// Which keys are asked for most; answered by `Hot`.
    Hot,
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
    /// The cluster as the node sees it.
    Ring(Box<Ring>),
    /// Who owns a key.
    Owner(Owner),
    /// It is done.
    Done,
    /// The policy set in force.
    PolicyFile(PolicyFile),
    /// The set is in force here, and on its way to all other nodes.
    Applied(PolicyFile),
    /// A slot at this node.
    Slot(Box<SlotView>),
    /// The keys that are asked for most.
    Hot(Box<HotKeys>),
}

/// A change of a node's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NodeCommand {
    /// The node that is asked gives all its slots to the others and takes none, until it restarts or
    /// is told to [`NodeCommand::Resume`].
    Drain,
    /// It takes slots again.
    Resume,
    /// It drains and then leaves the cluster for good.
    Leave,
    /// The operator vouches that this node is gone: its slots start empty, in quarantine, at others.
    Remove {
        /// Its id.
        node: u128,
    },
    /// The node that is asked owns a share of the slots by this weight.
    Weight(u32),
    /// Each slot of the whole cluster is on this many nodes, 1 or 3, as soon as there are as many.
    Replicas(u8),
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ring {
    /// Id of the node that answers.
    pub node: u128,
    /// All nodes of the cluster that it knows, itself included, by id.
    pub nodes: Vec<RingNode>,
    /// Runs of slots in order: how many, the owner's place in `nodes` (65535: none known), and the
    /// place of the node that should own them by the ring.
    pub runs: Vec<(u16, u16, u16)>,
    /// Hand-offs that the node takes part in.
    pub hand_offs: Vec<HandOff>,
    /// What the node itself holds and does.
    pub load: NodeLoad,
    /// How the replicas of what it serves and holds stand.
    pub replicas: RingReplicas,
}

/// A node of the cluster as another one sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RingNode {
    /// Its id.
    pub node: u128,
    /// Its advertised address.
    pub address: String,
    /// `alive`, `suspect`, `down`, `draining`, `left` or `removed`.
    pub state: String,
    /// How often it has started, as far as is known.
    pub boot_counter: u64,
    /// Its share of the slots, against others'.
    pub weight: u32,
    /// Hash of its policy set; 0 if not known.
    pub policies: u64,
    /// Round trip to it in microseconds; 0 if not known.
    pub round_trip_us: u64,
}

/// A hand-off in progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HandOff {
    /// The node that gives.
    pub from: u128,
    /// The node that takes.
    pub to: u128,
    /// Slots in it.
    pub slots: u32,
    /// `pre-copy`, `seal`, `fetch`, `install` or `accept`.
    pub step: String,
    /// Bytes of state moved so far.
    pub bytes: u64,
}

/// What a node holds and does. Counters start at zero with the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeLoad {
    /// Slots that it serves.
    pub slots: u32,
    /// Key states in memory.
    pub keys: u64,
    /// Checks decided here.
    pub checks: u64,
    /// Checks passed on to their owners.
    pub proxied: u64,
    /// Answers given without the counts.
    pub degraded: u64,
    /// Commits written and not yet synced.
    pub unsynced_commits: u64,
    /// Since the process began to serve.
    pub uptime_ms: u64,
}

/// Who owns a key.
#[expect(
    clippy::struct_field_names,
    reason = "the owner and the target are both nodes"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// The key's slot.
    pub slot: u16,
    /// Counter of the owner's epoch.
    pub epoch: u64,
    /// Version of the slot's configuration.
    pub version: u64,
    /// Id of the owner; 0 if none is known.
    pub owner: u128,
    /// Its address, if known.
    pub owner_address: String,
    /// Id of the node that should own it by the ring.
    pub target: u128,
    /// Ids of the nodes that hold the slot, the owner included, as far as the node that answers knows.
    pub replicas: Vec<u128>,
    /// Whether the node that answers serves the slot, and so knows who is in sync.
    pub served: bool,
    /// Ids of those other nodes that have all of the slot and follow.
    pub in_sync: Vec<u128>,
}

/// The keys that are asked for most at one node, by a sample of the checks that it decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotKeys {
    /// The time that was sampled, 20 seconds at most.
    pub span_ms: u64,
    /// One check in so many was looked at; all counts are multiplied by it.
    pub sampled: u64,
    /// The keys asked for most, at most 64, the first first.
    pub asked: Vec<HotKey>,
    /// The keys denied most; their `checks` are denials.
    pub denied: Vec<HotKey>,
}

/// A key that is asked for often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotKey {
    /// Name of the policy.
    pub policy: String,
    /// The key.
    pub key: String,
    /// Checks in the time that was sampled, about.
    pub checks: u64,
    /// By how much that may be too high, since others had the key's place before.
    pub error: u64,
    /// Of these, denied.
    pub denied: u64,
}

/// A policy set as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyFile {
    /// Counts the sets that were in force in the cluster.
    pub version: u64,
    /// Hash of the set.
    pub hash: u64,
    /// The `limits.toml`.
    pub text: String,
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
    /// Keys in quarantine; a slot all of whose keys are counts as one.
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
    /// The node's policy file says something else than the set in force in the cluster.
    pub policy_file_differs: bool,
    /// Checks that came to this node although another one owns their slot, and were answered so.
    pub not_owner: u64,
    /// Checks that waited in vain for a slot that was moving.
    pub sealed_out: u64,
    /// What other nodes said or claimed that was refused: strangers, wrong roles, forged senders,
    /// messages that cannot be.
    pub peers_refused: u64,
    /// Why the node's policy file cannot be used, so that an earlier set stays in force; empty if it
    /// can be.
    pub policy_file_error: String,
    /// Slots that were sealed here while they moved, each time counted, and are served again.
    pub seals: u64,
    /// The longest of these seals; checks of its keys waited for so long.
    pub seal_longest_ms: u64,
    /// Why this node serves nothing although its storage is well: the cluster has shut it out, and
    /// what to do about it. Empty if it takes part.
    pub shut_out: String,
    /// The links on which commits go to replicas.
    pub replica_links: Vec<ReplicaLink>,
    /// Slots that it serves and in which it grants nothing, since too few of their replicas can be
    /// reached.
    pub without_majority: u64,
    /// What replicas acknowledged or claimed that was refused, how often for which reason. Some are
    /// normal after a reconnect, or when a slot has moved.
    pub acknowledgements_refused: Vec<(String, u64)>,
}
