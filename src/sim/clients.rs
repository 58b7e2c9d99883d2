//! Clients as the library makes them: they go straight to owners that they have learned, fall back
//! to others that pass on, retry once, deny by themselves what is still denied, check several keys
//! all or nothing, and give back what they do not need.

use std::collections::BTreeMap;

use super::judge::{Fact, GrantId};
use super::machine::node_of;
use super::mutations::Mutation;
use super::queue::{Happening, NodeEvent};
use super::state::{KEYS_PER_SLOT, Key};
use super::wire::{Answer, Ask, Asker, What};
use super::world::{MS, World};
use crate::types::{Configuration, Grant, Slot};

/// How long a client waits for an answer.
const TIMEOUT_NS: u64 = 800 * MS;
/// Grants that a client may still give back.
const KEPT_MAX: usize = 8;

/// One client.
#[derive(Debug, Default)]
pub(super) struct Client {
    records: BTreeMap<Slot, Configuration>,
    version: usize,
    denied: BTreeMap<Key, Denial>,
    kept: Vec<Counted>,
    task: Option<Task>,
    requests: u64,
    /// Answers in a row that were decisions, since faults have stopped.
    pub(super) decided: u64,
}

/// A denial that is true for a while.
#[derive(Debug, Clone, Copy)]
struct Denial {
    until_ns: u64,
    cost: u64,
    version: usize,
}

/// A grant of this client.
#[derive(Debug, Clone, Copy)]
struct Counted {
    key: Key,
    id: GrantId,
    grant: Grant,
}

/// What a client is doing: checks of one key or several, one after the other.
#[derive(Debug)]
struct Task {
    wanted: Vec<(Key, u64)>,
    counted: Vec<Counted>,
    /// The request that is waited for.
    request: u64,
    attempts: u8,
}

impl World {
    /// A client begins something new.
    pub(super) fn turn(&mut self, client: usize) {
        let several = self.random.permille(250);
        let count = if several {
            self.random.between(2, 4)
        } else {
            1
        };
        let mut wanted: Vec<(Key, u64)> = Vec::new();
        for _ in 0..count {
            let Some(slot) = self.random.pick(&self.options.slots) else {
                return;
            };
            let n = self.random.place(KEYS_PER_SLOT);
            let most = if n == 1 { 30 } else { 3 };
            let cost = 1 + self.random.below(most);
            let key = Key { slot, n };
            if wanted.iter().all(|it| it.0 != key) {
                wanted.push((key, cost));
            }
        }
        if self.random.permille(60) {
            self.give_one_back(client);
        }
        self.clients[client].task = Some(Task {
            wanted,
            counted: Vec::new(),
            request: 0,
            attempts: 0,
        });
        self.ask_next(client);
    }

    fn give_one_back(&mut self, client: usize) {
        let count = self.clients[client].kept.len();
        if count > 0 {
            let place = self.random.place(count);
            let counted = self.clients[client].kept.swap_remove(place);
            self.coverage.note(("client", "refund"));
            self.see(&Fact::GivenBack { grant: counted.id });
            self.send_refund(client, counted);
        }
    }

    /// Asks for the next key of a task, or ends it.
    fn ask_next(&mut self, client: usize) {
        let Some(task) = &self.clients[client].task else {
            return;
        };
        let Some(&(key, cost)) = task.wanted.get(task.counted.len()) else {
            self.succeed(client);
            return;
        };
        if self.is_denied(client, key, cost) {
            self.fail(client, true);
            return;
        }
        let owner = self.clients[client]
            .records
            .get(&key.slot)
            .map(|it| node_of(it.owner));
        let attempts = self.clients[client]
            .task
            .as_ref()
            .map_or(0, |it| it.attempts);
        let proxied = self.random.permille(self.options.proxied_permille);
        let direct = owner.filter(|_| attempts < 2 && !proxied);
        let node = direct.unwrap_or_else(|| self.anybody());
        let ask = Ask {
            key,
            what: What::Check { cost },
            hops: 0,
            proxied: direct.is_none(),
        };
        let request = self.say_to(client, node, ask);
        if let Some(task) = &mut self.clients[client].task {
            task.request = request;
        }
        self.plan(TIMEOUT_NS, Happening::TimedOut { client, request });
    }

    /// A node to ask when the owner is not known: one of the configured seeds that is still there.
    fn anybody(&mut self) -> usize {
        let there = (0..self.machines.len()).filter(|&it| !self.machines[it].removed);
        let there: Vec<usize> = there.collect();
        self.random.pick(&there).unwrap_or(0)
    }

    /// Whether an earlier denial still holds; it does not outlive its policies.
    fn is_denied(&mut self, client: usize, key: Key, cost: u64) -> bool {
        let kept = self.mutated(Mutation::DenialsKept);
        let now = self.now;
        let it = &self.clients[client];
        let Some(denial) = it.denied.get(&key).copied() else {
            return false;
        };
        let holds = denial.until_ns > now && cost >= denial.cost;
        if !holds || (denial.version != it.version && !kept) {
            return false;
        }
        self.coverage.note(("client", "denied from its cache"));
        self.see(&Fact::DeniedFromCache {
            client,
            version: denial.version,
        });
        true
    }

    /// Sends a request; returns its number.
    fn say_to(&mut self, client: usize, node: usize, ask: Ask) -> u64 {
        self.clients[client].requests += 1;
        let request = self.clients[client].requests;
        if !self.lost_on_the_way() {
            let after_ns = self.delay_ns().min(20 * MS);
            let event = NodeEvent::Asked {
                asker: Asker::Client(client),
                request,
                ask,
                tries: 0,
            };
            self.plan_node(node, after_ns, event);
        }
        request
    }

    /// A client gets an answer.
    pub(super) fn answered(&mut self, client: usize, request: u64, answer: Answer) {
        let waits = self.clients[client].task.as_ref();
        let Some(&(key, cost)) = waits
            .filter(|it| it.request == request)
            .and_then(|it| it.wanted.get(it.counted.len()))
        else {
            return;
        };
        match answer {
            Answer::Granted { id, grant } => {
                self.see(&Fact::Acknowledged { grant: id, key });
                self.clients[client].decided += 1;
                if let Some(task) = &mut self.clients[client].task {
                    task.counted.push(Counted { key, id, grant });
                    task.attempts = 0;
                }
                self.ask_next(client);
            }
            Answer::Denied { retry_ms, version } => {
                let until_ns = self.now + retry_ms * MS;
                let it = &mut self.clients[client];
                it.decided += 1;
                let denial = Denial {
                    until_ns,
                    cost,
                    version,
                };
                it.denied.insert(key, denial);
                self.told(client, version);
                self.fail(client, true);
            }
            Answer::NotOwner { slot, record } => {
                self.coverage.note(("client", "told of another owner"));
                self.learn(client, slot, record);
                self.try_again(client);
            }
            Answer::Unavailable | Answer::Overloaded => self.try_again(client),
        }
    }

    pub(super) fn learn(&mut self, client: usize, slot: Slot, record: Configuration) {
        let known = self.clients[client].records.entry(slot).or_insert(record);
        if known.version < record.version {
            *known = record;
        }
    }

    /// A client waits no longer: the answer, if one comes, counts for nobody.
    pub(super) fn timed_out(&mut self, client: usize, request: u64) {
        let waits = self.clients[client].task.as_ref();
        if waits.is_some_and(|it| it.request == request) {
            self.coverage.note(("client", "timeout"));
            // perhaps the owner is gone: whoever answers will know
            let key = waits
                .and_then(|it| it.wanted.get(it.counted.len()))
                .map(|it| it.0);
            if let Some(key) = key {
                self.clients[client].records.remove(&key.slot);
            }
            self.try_again(client);
        }
    }

    fn try_again(&mut self, client: usize) {
        let Some(task) = &mut self.clients[client].task else {
            return;
        };
        task.attempts += 1;
        if task.attempts > 3 {
            self.fail(client, false);
        } else {
            self.ask_next(client);
        }
    }

    fn succeed(&mut self, client: usize) {
        if let Some(task) = self.clients[client].task.take() {
            let kept = &mut self.clients[client].kept;
            kept.extend(task.counted);
            let excess = kept.len().saturating_sub(KEPT_MAX);
            kept.drain(..excess);
        }
        self.think(client);
    }

    /// All or nothing: what was counted is given back, once.
    fn fail(&mut self, client: usize, decided: bool) {
        let Some(task) = self.clients[client].task.take() else {
            return;
        };
        if !decided {
            self.clients[client].decided = 0;
        }
        for counted in task.counted {
            self.coverage
                .note(("client", "check of several keys undone"));
            self.see(&Fact::GivenBack { grant: counted.id });
            self.send_refund(client, counted);
            if self.mutated(Mutation::UndoTwice) {
                self.send_refund(client, counted);
            }
        }
        self.think(client);
    }

    /// A refund goes once, to whoever serves, and is never repeated in doubt.
    fn send_refund(&mut self, client: usize, counted: Counted) {
        let record = self.clients[client].records.get(&counted.key.slot);
        let owner = record.map(|it| node_of(it.owner));
        let node = owner.unwrap_or_else(|| self.anybody());
        let what = What::Refund {
            grant: counted.grant,
        };
        let ask = Ask {
            key: counted.key,
            what,
            hops: 0,
            proxied: true,
        };
        self.say_to(client, node, ask);
    }

    fn think(&mut self, client: usize) {
        let after_ns = self.random.below(self.options.think_ms * MS) + 100_000;
        self.plan(after_ns, Happening::Turn { client });
    }

    /// A client is told of a version of the policy set.
    pub(super) fn told(&mut self, client: usize, version: usize) {
        let it = &mut self.clients[client];
        if it.version < version {
            it.version = version;
            self.see(&Fact::Told { client, version });
        }
    }
}
