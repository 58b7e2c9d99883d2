//! A limiter that decides by the policy's name and keeps what it granted when the test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::{Durability, Limits};
use crate::protocol::admin::{AdminRequest, AdminResponse, PolicyLine};
use crate::protocol::client::{
    Ask, PolicyRef, RequestBody, ResponseBody, WireDecision, WireSource,
};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::server::{Answer, Carried, Kept, Postponed, Service, Settled, Task, Via, Wait};
use crate::types::Slot;

/// What is kept: numbers of commits, or that the storage failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) committed: u64,
    pub(crate) synced: u64,
    pub(crate) failed: bool,
}

/// Policies: `late` is decided when the gate named like the key is open, `free` and `deny` need no
/// wait, `process` and `fsync` do, others are unknown; those
/// that requests bring along are refused with many words.
#[derive(Debug)]
pub(crate) struct Toy {
    pub(in crate::server) kept: watch::Sender<Written>,
    /// Numbers of slots, as long as the answer's key, of which everything is lost.
    pub(super) lost: Mutex<BTreeSet<u16>>,
    /// Number of checks in each batch.
    pub(crate) batches: Mutex<Vec<usize>>,
    pub(super) commands: Mutex<Vec<String>>,
    pub(crate) turned_away: Mutex<usize>,
    pub(super) connections: watch::Sender<usize>,
    pub(super) policies: Mutex<Vec<PolicyLine>>,
    /// Keys, and commands, that what was deferred may be answered for.
    pub(super) open_gates: watch::Sender<BTreeSet<String>>,
}

impl Default for Toy {
    /// Everything is kept at once.
    fn default() -> Self {
        Self {
            lost: Mutex::default(),
            kept: watch::Sender::new(Written {
                committed: u64::MAX,
                synced: u64::MAX,
                failed: false,
            }),
            batches: Mutex::default(),
            commands: Mutex::default(),
            turned_away: Mutex::default(),
            connections: watch::Sender::new(0),
            policies: Mutex::default(),
            open_gates: watch::Sender::default(),
        }
    }
}

pub(super) fn decision(allowed: bool, limit: u64) -> WireDecision {
    WireDecision {
        allowed,
        shadow_denied: false,
        limit,
        remaining: 0,
        reset_after_ms: 0,
        retry_after_ms: 0,
        source: WireSource::Owner,
        granted_at_ms: None,
    }
}

impl Toy {
    pub(crate) fn keep(&self, change: impl FnOnce(&mut Written)) {
        self.kept.send_modify(change);
    }

    /// Resolves when the last batch had `checks` checks.
    pub(crate) async fn decided(&self, checks: usize) {
        while self.batches.lock().last() != Some(&checks) {
            tokio::task::yield_now().await;
        }
    }

    /// The commands until now.
    pub(in crate::server) fn commands(&self) -> Vec<String> {
        self.commands.lock().clone()
    }

    /// The sizes of all batches until now.
    pub(in crate::server) fn batches(&self) -> Vec<usize> {
        self.batches.lock().clone()
    }

    /// Opens the gate that tasks of this name wait for.
    pub(crate) fn open(&self, gate: &str) {
        self.open_gates
            .send_modify(|open| open.extend([gate.to_owned()]));
    }

    fn late(asks: &[Ask<'_>]) -> Vec<usize> {
        let policies = asks.iter().map(|ask| &ask.target.policy).enumerate();
        policies
            .filter(|(_, policy)| **policy == PolicyRef::Named("late"))
            .map(|(n, _)| n)
            .collect()
    }

    /// The limit in a decision is the key's length, so that answers can be told apart.
    fn answer(ask: &Ask<'_>) -> Answer {
        let policy = match &ask.target.policy {
            PolicyRef::Named(name) => *name,
            PolicyRef::Carried { name, .. } => {
                let error = WireError::BadRequestLimit {
                    name: (*name).to_owned(),
                    reason: "a reason that is longer than the limit was".to_owned(),
                };
                return Answer {
                    decision: Err(error),
                    wait: None,
                };
            }
        };
        let limit = u64::try_from(ask.target.key.len()).unwrap();
        let wait = |durability| Wait {
            ticket: 1,
            durability,
            slot: Slot::new(u16::try_from(limit).unwrap()).unwrap(),
        };
        let (decision, wait) = match policy {
            "free" | "late" => (Ok(decision(true, limit)), None),
            "deny" => (Ok(decision(false, limit)), None),
            "process" => (Ok(decision(true, limit)), Some(wait(Durability::Process))),
            "fsync" => (Ok(decision(true, limit)), Some(wait(Durability::Fsync))),
            name => {
                let name = name.to_owned();
                (Err(WireError::UnknownPolicy { name }), None)
            }
        };
        Answer { decision, wait }
    }
}

impl Service for Toy {
    fn welcome(&self, version: u16) -> Welcome {
        Welcome {
            version,
            node: 1,
            cluster: 2,
            slot_count: 4096,
            key_secret: [0; 16],
            in_flight_max: 0,
        }
    }

    fn check(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize> {
        self.batches.lock().push(asks.len());
        answers.extend(asks.iter().map(Self::answer));
        Self::late(asks)
    }

    fn peek(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize> {
        answers.extend(asks.iter().map(|ask| Answer {
            wait: None,
            ..Self::answer(ask)
        }));
        Self::late(asks)
    }

    fn later(self: &Arc<Self>, asks: &[Postponed<'_>], via: Via) -> Vec<Task<Settled>> {
        let mut by_key = BTreeMap::new();
        for (n, asked) in asks.iter().enumerate() {
            let key = asked.ask.target.key.to_owned();
            let decided = match (via, asked.mode) {
                (Via::Caller, _) => Self::answer(asked.ask).decision,
                (Via::Proxy, _) => Err(WireError::NotOwner {
                    slot: 1,
                    epoch: 2,
                    owner: 3,
                }),
            };
            by_key
                .entry(key)
                .or_insert_with(Vec::new)
                .push((n, decided));
        }
        let task = |(key, decided)| -> Task<_> {
            let mut gates = self.open_gates.subscribe();
            Box::pin(async move {
                let open = gates.wait_for(|open| open.contains(&key)).await;
                drop(open);
                Settled {
                    decided,
                    more: Vec::new(),
                }
            })
        };
        by_key.into_iter().map(task).collect()
    }

    fn command(self: &Arc<Self>, body: &RequestBody<'_>, left: Duration, via: Via) -> Carried {
        self.commands.lock().push(format!("{body:?}"));
        let task = |gate: &'static str, answer| -> Task<ResponseBody> {
            let mut gates = self.open_gates.subscribe();
            Box::pin(async move {
                drop(gates.wait_for(|open| open.contains(gate)).await);
                answer
            })
        };
        match body {
            RequestBody::Routes { .. } => {
                let done = ResponseBody::Refunded {
                    permits: u64::try_from(left.as_millis()).unwrap(),
                };
                Carried::Open(task("routes", done))
            }
            RequestBody::Cancel { .. } if via == Via::Caller => {
                Carried::Later(task("cancel", ResponseBody::Done))
            }
            _ => {
                let durability = Durability::Fsync;
                let wait = Wait {
                    ticket: 1,
                    durability,
                    slot: Slot::new(0).unwrap(),
                };
                Carried::Now(ResponseBody::Done, Some(wait))
            }
        }
    }

    fn limits(&self, policy: &str, _key: &str) -> Result<Limits, WireError> {
        let name = policy.to_owned();
        Err(WireError::UnknownPolicy { name })
    }

    fn descriptors(&self) -> Arc<DescriptorRules> {
        Arc::default()
    }

    async fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        match request {
            AdminRequest::Status => AdminResponse::Status(Box::default()),
            AdminRequest::Policies => AdminResponse::Policies(self.policies.lock().clone()),
            AdminRequest::Inspect(_)
            | AdminRequest::Client(_)
            | AdminRequest::Ring
            | AdminRequest::Owner(_)
            | AdminRequest::Node(_)
            | AdminRequest::PolicyFile
            | AdminRequest::PolicyApply(_)
            | AdminRequest::Hot
            | AdminRequest::Slot(_) => AdminResponse::Failed(WireError::Unavailable),
        }
    }

    async fn kept(&self, wait: Wait) -> Result<Kept, WireError> {
        let mut kept = self.kept.subscribe();
        let reached = kept.wait_for(|kept| {
            let number = match wait.durability {
                Durability::None => u64::MAX,
                Durability::Process => kept.committed,
                Durability::Fsync => kept.synced,
            };
            kept.failed || number >= wait.ticket
        });
        match reached.await {
            Ok(kept) if !kept.failed && self.lost.lock().is_empty() => Ok(Kept::All),
            Ok(kept) if !kept.failed => Ok(Kept::Some),
            Ok(_) | Err(_) => Err(WireError::StorageFailed),
        }
    }

    fn is_lost(&self, wait: Wait) -> bool {
        self.lost.lock().contains(&wait.slot.number())
    }

    fn connections_changed(&self, open: usize) {
        self.connections.send_replace(open);
    }

    fn turned_away(&self) {
        *self.turned_away.lock() += 1;
    }
}
