//! What an admin sees: a key's state, the policies, and how the node is.

use std::sync::atomic::Ordering;

use super::batch::OnCold;
use super::clock;
use super::engine::Engine;
use super::policy_sets::rule::FileState;
use crate::limiter::policy::Durability;
use crate::limiter::table::Seen;
use crate::protocol::admin::{Inspected, InspectedLimit, PolicyLine, Status};
use crate::protocol::client::Target;
use crate::protocol::error::WireError;
use crate::protocol::replicas::ReplicaLink;
use crate::replication::{Refusal, Refusals};

/// Most characters that the status tells of what is wrong with the policy file.
const FILE_ERROR_MAX: usize = 1000;

impl Engine {
    /// The state of one key.
    pub(super) fn inspect(&self, target: &Target<'_>) -> Result<Inspected, WireError> {
        let policy = self.find_policy(&target.policy)?;
        let mut asked = self.asked(&policy, target.key, 0)?;
        let seen = loop {
            let now = self.now();
            match self.table.inspect(now, &asked) {
                Ok(seen) => break seen,
                Err(error) => self.recover_change(error, &mut asked, (now, OnCold::Read))?,
            }
        };
        let Seen {
            at: now,
            buckets,
            reservations,
            quarantine_ms,
        } = seen;
        let limits = asked
            .limits
            .as_slice()
            .iter()
            .zip(buckets)
            .map(|(limit, buckets)| InspectedLimit {
                permits: limit.permits(),
                window_ms: limit.window_ms(),
                bucket_ms: limit.bucket_ms(),
                buckets: buckets
                    .iter()
                    .map(|b| (b.start.as_ms(), b.permits))
                    .collect(),
            });
        Ok(Inspected {
            slot: asked.id.slot().number(),
            now_ms: now.as_ms(),
            limits: limits.collect(),
            reservations: reservations
                .iter()
                .map(|open| (open.id.0, open.grant.cost, open.expires_at.ms_since(now)))
                .collect(),
            quarantine_ms: quarantine_ms.max(self.quarantine.left_ms(self.now())),
        })
    }

    /// The policies in force, by name.
    pub(super) fn policy_lines(&self) -> Vec<PolicyLine> {
        let set = self.policies.current();
        let line = |active: &std::sync::Arc<super::policies::ActivePolicy>| {
            let policy = &active.policy;
            let overrides = policy.exact.len().saturating_add(policy.prefixes.len());
            PolicyLine {
                name: active.name.clone(),
                limits: policy
                    .limits
                    .as_slice()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                on_failure: policy.on_failure.as_str().to_owned(),
                durability: policy.durability.as_str().to_owned(),
                shadow: policy.shadow,
                overrides: u32::try_from(overrides).unwrap_or(u32::MAX),
                carried: active.carried,
            }
        };
        set.all().map(line).collect()
    }

    /// How the node is.
    pub(crate) fn status(&self) -> Status {
        let table = self.table.counters();
        let set = self.policies.current();
        let of = |durability| {
            let of = set.all().filter(|p| p.policy.durability == durability);
            of.count() as u64
        };
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let cluster = self.cluster.get();
        let forwarded = cluster.map(|cluster| cluster.forwarder.counts());
        let forwarded = forwarded.unwrap_or_default();
        let file = cluster.map(|cluster| cluster.file_state());
        let view = cluster.map(|cluster| cluster.view()).unwrap_or_default();
        let uptime = clock::mono_now().since(self.about.started).as_millis();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.about.node.to_string(),
            boot_counter: self.about.boots,
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
            keys: table.keys,
            keys_max: self.table.capacity().keys_max,
            table_bytes: table.bytes,
            table_bytes_max: self.table.capacity().bytes_max,
            resident_bytes: clock::resident_bytes(),
            checks: table.grants.saturating_add(table.denials),
            grants: table.grants,
            denials: table.denials,
            degraded: load(&self.counts.degraded),
            errors: load(&self.counts.errors),
            overloaded: load(&self.counts.overloaded),
            evictions: table.evictions,
            commits: self.committer.commits(),
            committed: self.committer.committed(),
            synced: self.committer.synced(),
            quarantined_keys: self
                .table
                .quarantined(self.now(), self.quarantine.longest_ms()),
            quarantine_ms: self.quarantine.left_ms(self.now()),
            storage: self.fence.cause().map_or_else(|| "ok".to_owned(), describe),
            data_dir: self.about.data_dir.clone(),
            connections: load(&self.counts.connections),
            policies: set.all().len() as u64,
            policies_max: set.max_policies() as u64,
            durability: [
                of(Durability::None),
                of(Durability::Process),
                of(Durability::Fsync),
            ],
            policy_file_differs: file == Some(FileState::Differs),
            not_owner: forwarded.not_owner,
            sealed_out: forwarded.sealed_out,
            peers_refused: view.refused,
            policy_file_error: match file {
                Some(FileState::Broken(why)) => why.chars().take(FILE_ERROR_MAX).collect(),
                Some(FileState::Same | FileState::Differs) | None => String::new(),
            },
            seals: view.seals.0,
            seal_longest_ms: u64::try_from(view.seals.1.as_millis()).unwrap_or(u64::MAX),
            shut_out: view.shut_out.clone().unwrap_or_default(),
            replica_links: self.replica_links(),
            without_majority: self.replication.without_majority(),
            acknowledgements_refused: self.acknowledgements_refused(),
        }
    }

    fn replica_links(&self) -> Vec<ReplicaLink> {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let links = self.replication.peers().into_iter();
        let links = links.map(|peer| ReplicaLink {
            node: peer.node.0,
            linked: peer.linked,
            owed: count(peer.owed),
            unsynced: count(peer.unsynced),
        });
        links.collect()
    }

    fn acknowledgements_refused(&self) -> Vec<(String, u64)> {
        let refusals = self.replication.refusals();
        let counts = Refusals::ALL.iter().map(|it| (*it, refusals.count(*it)));
        let some = counts.filter(|(_, count)| *count > 0);
        some.map(|(why, count)| (reason(why).to_owned(), count))
            .collect()
    }
}

/// Why what a replica said was refused.
const fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::ForeignLink => "of an earlier link",
        Refusal::NeverSent => "of what was never sent",
        Refusal::Backwards => "taken back",
        Refusal::NotApplied => "synced before it was applied",
        Refusal::NotServed => "of slots not served here",
        Refusal::OtherEpoch => "of another epoch",
        Refusal::Position => "of a position that cannot be",
        Refusal::NotFed => "of slots that are not sent there",
        Refusal::Promise => "of a promise that cannot be",
        Refusal::Busy => "too many learners",
    }
}

fn describe(error: &crate::storage::store::StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
