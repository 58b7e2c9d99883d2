//! What the node and its cluster tell, as families of metrics.

use super::figures::{Lack, NodeFigures, PolicyFigures, WithoutCounts};
use super::page::{Family, Labels, counter, counters, durations, float, gauge, gauges, seconds};
use crate::protocol::admin::{Ring, Status};
use crate::server::grpc::EnvoyCounts;

/// States of a node in a ring, all of which are told, so that one that is gone shows as a zero.
const NODE_STATES: [&str; 6] = ["alive", "suspect", "down", "draining", "left", "removed"];

/// What the node itself does and holds.
pub(super) fn of_node(status: &Status, node: &NodeFigures) -> Vec<Family> {
    let mut families = vec![
        gauges(
            "ratelimit_build_info",
            "Always 1; the version of the software is a label.",
            vec![(vec![("version", status.version.clone())], 1.0)],
        ),
        gauge(
            "ratelimit_uptime_seconds",
            "Since the node began to serve.",
            seconds(status.uptime_ms),
        ),
    ];
    families.extend(of_checks(status, node));
    families.extend(of_memory(status));
    families.extend(of_storage(status, node));
    families
}

fn of_checks(status: &Status, node: &NodeFigures) -> Vec<Family> {
    let outcomes = node.policies.iter().flat_map(outcomes);
    vec![
        counters(
            "ratelimit_checks",
            "Checks that this node has answered, by policy and outcome; those passed on to other nodes are counted there.",
            outcomes.collect(),
        ),
        counters(
            "ratelimit_denials",
            "Requests denied, by policy and reason: the counts said so, or they could not be asked and on_failure is deny.",
            node.policies.iter().flat_map(denials).collect(),
        ),
        counters(
            "ratelimit_degraded_answers",
            "Answers given without the counts, as on_failure says, by policy and outcome.",
            node.policies.iter().flat_map(degraded).collect(),
        ),
        counter(
            "ratelimit_check_errors",
            "Checks answered by an error.",
            status.errors,
        ),
        counter(
            "ratelimit_overloaded",
            "Requests turned away because there was too much work.",
            status.overloaded,
        ),
        counter(
            "ratelimit_not_owner",
            "Checks that came to the wrong node, and were answered so.",
            status.not_owner,
        ),
        counter(
            "ratelimit_sealed_out",
            "Checks that waited in vain for a slot that was moving.",
            status.sealed_out,
        ),
        gauge(
            "ratelimit_connections",
            "Open connections of all protocols.",
            float(status.connections),
        ),
        gauge(
            "ratelimit_policies",
            "Policies in force, those that requests brought along included.",
            float(status.policies),
        ),
        gauge(
            "ratelimit_policies_max",
            "Most policies at once.",
            float(status.policies_max),
        ),
        gauge(
            "ratelimit_policy_file_differs",
            "1 if the policy file says something else than what is in force, or cannot be used.",
            truth(status.policy_file_differs || !status.policy_file_error.is_empty()),
        ),
    ]
}

fn outcomes(policy: &PolicyFigures) -> [(Labels, u64); 4] {
    [
        ("allowed", policy.allowed),
        ("denied", policy.denied),
        ("shadow_denied", policy.shadow_denied),
        ("degraded", policy.degraded),
    ]
    .map(|(outcome, count)| (labels(policy, ("outcome", outcome)), count))
}

fn denials(policy: &PolicyFigures) -> impl Iterator<Item = (Labels, u64)> {
    let without = Lack::ALL.iter().zip(policy.without_counts);
    let without = without.map(|(lack, count)| (lack.as_str(), count.denied));
    [("over_limit", policy.denied)]
        .into_iter()
        .chain(without)
        .map(|(reason, count)| (labels(policy, ("reason", reason)), count))
}

fn degraded(policy: &PolicyFigures) -> [(Labels, u64); 2] {
    let sum = |of: fn(&WithoutCounts) -> u64| {
        let counts = policy.without_counts.iter().map(of);
        counts.fold(0, u64::saturating_add)
    };
    [
        ("allowed", sum(|it| it.allowed)),
        ("denied", sum(|it| it.denied)),
    ]
    .map(|(outcome, count)| (labels(policy, ("outcome", outcome)), count))
}

fn labels(policy: &PolicyFigures, (name, value): (&'static str, &str)) -> Labels {
    vec![("policy", policy.policy.clone()), (name, value.to_owned())]
}

fn of_memory(status: &Status) -> Vec<Family> {
    vec![
        gauge(
            "ratelimit_keys",
            "Key states in memory.",
            float(status.keys),
        ),
        gauge(
            "ratelimit_keys_max",
            "Most key states in memory.",
            float(status.keys_max),
        ),
        gauge(
            "ratelimit_table_bytes",
            "Bytes of key states in memory.",
            float(status.table_bytes),
        ),
        gauge(
            "ratelimit_table_max_bytes",
            "Most bytes of key states in memory.",
            float(status.table_bytes_max),
        ),
        gauge(
            "ratelimit_resident_bytes",
            "Resident memory of the process.",
            float(status.resident_bytes),
        ),
        counter(
            "ratelimit_evictions",
            "Key states evicted to disk.",
            status.evictions,
        ),
        gauge(
            "ratelimit_quarantined_keys",
            "Keys in quarantine; a slot all of whose keys are counts as one.",
            float(status.quarantined_keys),
        ),
        gauge(
            "ratelimit_quarantine_seconds",
            "Time left of a quarantine of the whole node.",
            seconds(status.quarantine_ms),
        ),
    ]
}

fn of_storage(status: &Status, node: &NodeFigures) -> Vec<Family> {
    let unsynced = status.committed.saturating_sub(status.synced);
    vec![
        gauge(
            "ratelimit_storage_up",
            "1 if the storage works; 0 if it failed, and the node has stopped granting.",
            truth(status.storage == "ok"),
        ),
        counter(
            "ratelimit_commits",
            "Commits written to the write-ahead log.",
            status.commits,
        ),
        counter(
            "ratelimit_commit_bytes",
            "Bytes of commits written to the write-ahead log.",
            node.commit_bytes,
        ),
        gauge(
            "ratelimit_unsynced_commits",
            "Commits written and not yet synced to disk.",
            float(unsynced),
        ),
        durations(
            "ratelimit_commit_duration_seconds",
            "How long a group commit took, from gathering what had changed until it was written.",
            &node.commits.whole,
        ),
        durations(
            "ratelimit_commit_write_duration_seconds",
            "How long the write of a commit to the write-ahead log took.",
            &node.commits.writes,
        ),
        durations(
            "ratelimit_commit_sync_duration_seconds",
            "How long a sync of the write-ahead log to disk took; commits share them.",
            &node.commits.syncs,
        ),
        gauge(
            "ratelimit_dirty_keys",
            "Key states that changed since a checkpoint last wrote them.",
            float(node.dirty_keys),
        ),
    ]
}

/// What Envoy asked that no rule is there for.
pub(super) fn of_envoy(counts: &EnvoyCounts) -> Vec<Family> {
    vec![
        counter(
            "ratelimit_envoy_unknown_domain_requests",
            "Requests of Envoy whose domain has no rules; they pass.",
            counts.unknown_domains(),
        ),
        counter(
            "ratelimit_envoy_unmatched_descriptors",
            "Descriptors of Envoy in known domains that no rule is there for; they pass.",
            counts.unmatched(),
        ),
    ]
}

/// What the node sees of its cluster, and its part in it.
pub(super) fn of_cluster(ring: &Ring, status: &Status) -> Vec<Family> {
    let in_state = |state: &str| {
        let nodes = ring.nodes.iter().filter(|node| node.state == state);
        u64::try_from(nodes.count()).unwrap_or(u64::MAX)
    };
    let states =
        NODE_STATES.map(|state| (vec![("state", state.to_owned())], float(in_state(state))));
    let mut families = vec![
        gauges(
            "ratelimit_nodes",
            "Nodes of the cluster as this one sees them, itself included, by state.",
            states.to_vec(),
        ),
        counter(
            "ratelimit_proxied_checks",
            "Checks passed on to the nodes that own their keys.",
            ring.load.proxied,
        ),
        counter(
            "ratelimit_peers_refused",
            "What other nodes said or claimed that was refused.",
            status.peers_refused,
        ),
        gauge(
            "ratelimit_shut_out",
            "1 if the cluster has shut this node out.",
            truth(!status.shut_out.is_empty()),
        ),
    ];
    families.extend(of_slots(ring, status));
    families.extend(of_replicas(status));
    families
}

fn of_slots(ring: &Ring, status: &Status) -> Vec<Family> {
    let moving = ring.hand_offs.iter().map(|it| u64::from(it.slots));
    let hand_offs = u64::try_from(ring.hand_offs.len()).unwrap_or(u64::MAX);
    vec![
        gauge(
            "ratelimit_slots_served",
            "Slots for which this node decides.",
            float(ring.load.slots.into()),
        ),
        gauge(
            "ratelimit_slots_held",
            "Slots that this node holds for others that own them.",
            float(ring.replicas.held.into()),
        ),
        gauge(
            "ratelimit_slots_behind",
            "Held slots whose commits do not come in.",
            float(ring.replicas.behind.into()),
        ),
        gauge(
            "ratelimit_slots_without_majority",
            "Served slots in which nothing is granted, since too few replicas can be reached.",
            float(status.without_majority),
        ),
        gauge(
            "ratelimit_hand_offs",
            "Hand-offs to this node that are under way.",
            float(hand_offs),
        ),
        gauge(
            "ratelimit_hand_off_slots",
            "Slots in hand-offs to this node that are under way.",
            float(moving.sum()),
        ),
        counter(
            "ratelimit_seals",
            "Slots that were sealed here while they moved.",
            status.seals,
        ),
        gauge(
            "ratelimit_seal_longest_seconds",
            "The longest of these seals.",
            seconds(status.seal_longest_ms),
        ),
    ]
}

fn of_replicas(status: &Status) -> Vec<Family> {
    let links = &status.replica_links;
    let up = u64::try_from(links.iter().filter(|it| it.linked).count()).unwrap_or(u64::MAX);
    let all = u64::try_from(links.len()).unwrap_or(u64::MAX);
    let owed = links.iter().map(|it| it.owed).fold(0, u64::saturating_add);
    let refused = status
        .acknowledgements_refused
        .iter()
        .map(|(_, count)| *count);
    vec![
        gauge(
            "ratelimit_replica_links",
            "Links on which commits go to replicas.",
            float(all),
        ),
        gauge(
            "ratelimit_replica_links_up",
            "Those among them that are up.",
            float(up),
        ),
        gauge(
            "ratelimit_replica_owed_commits",
            "Commits sent to replicas and not acknowledged.",
            float(owed),
        ),
        counter(
            "ratelimit_acknowledgements_refused",
            "Acknowledgements of replicas that were refused.",
            refused.fold(0, u64::saturating_add),
        ),
    ]
}

const fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
