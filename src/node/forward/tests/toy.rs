//! A limiter that grants everything in the slots that it serves, and remembers what it counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::{Durability, Limits};
use crate::node::forward::Local;
use crate::protocol::admin::{AdminRequest, AdminResponse, Inspected};
use crate::protocol::client::{
    Ask, PolicyRef, RequestBody, ResponseBody, WireDecision, WireSource,
};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::server::{Answer, Decided, Kept, Mode, Wait};
use crate::types::Slot;

/// Under the policy `held` a grant is kept once [`Toy::release`] was called; under `free` at once.
#[derive(Debug, Default)]
pub(super) struct Toy {
    served: Mutex<BTreeSet<u16>>,
    /// How often each key was counted, or a command carried out.
    counted: Mutex<BTreeMap<String, u32>>,
    released: watch::Sender<bool>,
    /// Slots of which everything is lost.
    pub(super) lost: Mutex<BTreeSet<u16>>,
    /// Keys whose states must be read first.
    cold: Mutex<BTreeSet<String>>,
    gate: Gate,
}

/// What reading waits for.
#[derive(Debug)]
struct Gate(Sender<()>, Receiver<()>);

impl Default for Gate {
    fn default() -> Self {
        let (open, opened) = bounded(8);
        Self(open, opened)
    }
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: 1,
        cluster: 2,
        slot_count: 4096,
        key_secret: [0; 16],
        in_flight_max: 8192,
    }
}

/// The limit in a decision is the key's length, so that answers can be told apart.
pub(super) fn decision(allowed: bool, key: &str) -> WireDecision {
    WireDecision {
        allowed,
        shadow_denied: false,
        limit: u64::try_from(key.len()).unwrap(),
        remaining: 0,
        reset_after_ms: 0,
        retry_after_ms: 0,
        source: WireSource::Owner,
        granted_at_ms: None,
    }
}

impl Toy {
    pub(super) fn serve(&self, slot: u16) {
        self.served.lock().insert(slot);
    }

    pub(super) fn seal(&self, slot: u16) {
        self.served.lock().remove(&slot);
    }

    /// From now on the state of `key` must be read first, which [`Toy::let_read`] lets happen.
    pub(super) fn chill(&self, key: &str) {
        self.cold.lock().insert(key.to_owned());
    }

    pub(super) fn let_read(&self) {
        self.gate.0.send(()).unwrap();
    }

    /// Reads all states; blocks until it may.
    fn read(&self) {
        if !self.cold.lock().is_empty() {
            let opened = self.gate.1.recv_timeout(Duration::from_secs(30));
            opened.expect("the thread that would open the gate reads itself");
            self.cold.lock().clear();
        }
    }

    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    pub(super) fn counted(&self, what: &str) -> u32 {
        self.counted.lock().get(what).copied().unwrap_or(0)
    }

    pub(super) fn counted_in_all(&self) -> u32 {
        self.counted.lock().values().sum()
    }

    fn count(&self, what: &str) {
        *self.counted.lock().entry(what.to_owned()).or_default() += 1;
    }

    fn serves(&self, key: &str) -> bool {
        self.served.lock().contains(&self.slot(key).number()) && !self.cold.lock().contains(key)
    }

    fn answer(&self, ask: &Ask<'_>, mode: Mode) -> Answer {
        if mode == Mode::Count {
            self.count(ask.target.key);
        }
        let held = ask.target.policy == PolicyRef::Named("held");
        Answer {
            decision: Ok(decision(true, ask.target.key)),
            wait: held.then_some(Wait {
                ticket: 1,
                durability: Durability::Process,
                slot: self.slot(ask.target.key),
            }),
        }
    }
}

impl Local for Toy {
    fn welcome(&self, _version: u16) -> Welcome {
        welcome()
    }

    fn slot(&self, key: &str) -> Slot {
        let number = key.split(':').next().unwrap().parse().unwrap();
        Slot::new(number).unwrap()
    }

    fn decide(&self, asks: &[Ask<'_>], mode: Mode, answers: &mut Vec<Answer>) -> Vec<usize> {
        let mut late = Vec::new();
        for (n, ask) in asks.iter().enumerate() {
            if self.serves(ask.target.key) {
                answers.push(self.answer(ask, mode));
            } else {
                late.push(n);
                answers.push(Answer {
                    decision: Err(WireError::StorageFailed),
                    wait: None,
                });
            }
        }
        late
    }

    fn decide_reading(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        answers: &mut Vec<Answer>,
    ) -> Vec<usize> {
        self.read();
        self.decide(asks, mode, answers)
    }

    fn carry_out_reading(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
        self.read();
        self.carry_out(body)
    }

    fn carry_out(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
        let (key, what) = match body {
            RequestBody::Refund { target, .. } => (target.key, "refund"),
            RequestBody::Reserve { ask, .. } => (ask.target.key, "reserve"),
            RequestBody::Reset { target } => (target.key, "reset"),
            other => panic!("{other:?}"),
        };
        if !self.serves(key) {
            return None;
        }
        self.count(what);
        let body = match what {
            "refund" => ResponseBody::Refunded { permits: 3 },
            "reserve" => ResponseBody::Reserved {
                decision: decision(true, key),
                reservation: Some(7),
            },
            _reset => ResponseBody::Done,
        };
        Some((body, None))
    }

    fn without_owner(&self, ask: &Ask<'_>) -> Decided {
        Ok(WireDecision {
            source: WireSource::Degraded,
            ..decision(false, ask.target.key)
        })
    }

    fn limits(&self, policy: &str, _key: &str) -> Result<Limits, WireError> {
        let name = policy.to_owned();
        Err(WireError::UnknownPolicy { name })
    }

    fn descriptors(&self) -> Arc<DescriptorRules> {
        Arc::default()
    }

    async fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        assert!(matches!(request, AdminRequest::Inspect(_)));
        AdminResponse::Inspected(Inspected {
            slot: 0,
            now_ms: 0,
            limits: Vec::new(),
            reservations: Vec::new(),
            quarantine_ms: 0,
        })
    }

    async fn kept(&self, _wait: Wait) -> Result<Kept, WireError> {
        let mut released = self.released.subscribe();
        let kept = released.wait_for(|released| *released).await;
        // What is lost is said by `is_lost` alone.
        kept.map(|_| Kept::Some)
            .map_err(|_| WireError::StorageFailed)
    }

    fn is_lost(&self, wait: Wait) -> bool {
        self.lost.lock().contains(&wait.slot.number())
    }

    fn connections_changed(&self, _open: usize) {}

    fn turned_away(&self) {}
}
