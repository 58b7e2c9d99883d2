//! A limiter that decides by the policy's name and keeps what it granted when the test says so.

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limiter::policy::Durability;
use crate::protocol::admin::{AdminRequest, AdminResponse, PolicyLine};
use crate::protocol::client::{
    Ask, PolicyRef, RequestBody, ResponseBody, WireDecision, WireSource,
};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::server::{Answer, Service, Wait};

/// What is kept: numbers of commits, or that the storage failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) committed: u64,
    pub(super) synced: u64,
    pub(super) failed: bool,
}

/// Policies: `free` and `deny` need no wait, `process` and `fsync` do, others are unknown; those
/// that requests bring along are refused with many words.
#[derive(Debug)]
pub(crate) struct Toy {
    pub(super) kept: watch::Sender<Kept>,
    /// Number of checks in each batch.
    pub(super) batches: Mutex<Vec<usize>>,
    pub(super) commands: Mutex<Vec<String>>,
    pub(super) turned_away: Mutex<usize>,
    pub(super) connections: watch::Sender<usize>,
    pub(super) policies: Mutex<Vec<PolicyLine>>,
}

impl Default for Toy {
    /// Everything is kept at once.
    fn default() -> Self {
        Self {
            kept: watch::Sender::new(Kept {
                committed: u64::MAX,
                synced: u64::MAX,
                failed: false,
            }),
            batches: Mutex::default(),
            commands: Mutex::default(),
            turned_away: Mutex::default(),
            connections: watch::Sender::new(0),
            policies: Mutex::default(),
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
    pub(super) fn keep(&self, change: impl FnOnce(&mut Kept)) {
        self.kept.send_modify(change);
    }

    /// Resolves when the last batch had `checks` checks.
    pub(super) async fn decided(&self, checks: usize) {
        while self.batches.lock().last() != Some(&checks) {
            tokio::task::yield_now().await;
        }
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
        };
        let (decision, wait) = match policy {
            "free" => (Ok(decision(true, limit)), None),
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

    fn check(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) {
        self.batches.lock().push(asks.len());
        answers.extend(asks.iter().map(Self::answer));
    }

    fn peek(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) {
        answers.extend(asks.iter().map(|ask| Answer {
            wait: None,
            ..Self::answer(ask)
        }));
    }

    fn command(&self, body: &RequestBody<'_>) -> (ResponseBody, Option<Wait>) {
        self.commands.lock().push(format!("{body:?}"));
        let durability = Durability::Fsync;
        let wait = Wait {
            ticket: 1,
            durability,
        };
        (ResponseBody::Done, Some(wait))
    }

    fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        match request {
            AdminRequest::Status => AdminResponse::Status(Box::default()),
            AdminRequest::Policies => AdminResponse::Policies(self.policies.lock().clone()),
            AdminRequest::Inspect(_)
            | AdminRequest::Client(_)
            | AdminRequest::Ring
            | AdminRequest::Owner(_)
            | AdminRequest::Node(_)
            | AdminRequest::PolicyFile
            | AdminRequest::PolicyApply(_) => AdminResponse::Failed(WireError::Unavailable),
        }
    }

    async fn kept(&self, wait: Wait) -> Result<(), WireError> {
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
            Ok(kept) if !kept.failed => Ok(()),
            Ok(_) | Err(_) => Err(WireError::StorageFailed),
        }
    }

    fn connections_changed(&self, open: usize) {
        self.connections.send_replace(open);
    }

    fn turned_away(&self) {
        *self.turned_away.lock() += 1;
    }
}
