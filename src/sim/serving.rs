//! Checks and refunds at a node: decided by the real key states where it serves, passed on or sent
//! away where another does, and answered when the commit is kept as the run's durability says.

use super::judge::{Decided, Fact};
use super::machine::{Waiting, node_of};
use super::mutations::Mutation;
use super::queue::{Happening, NodeEvent};
use super::wire::{Answer, Ask, Asker, What, Wire};
use super::world::{MS, World};
use crate::limiter::real_ms;
use crate::types::{Grant, Slot, SlotTime};

/// How often a request looks again whether its slot is served.
const TRIES: u8 = 5;
/// Most requests that are passed on and not answered.
const FORWARDED_MAX: usize = 64;

impl World {
    /// A request arrives, or is tried again.
    pub(super) fn asked(&mut self, node: usize, from: (Asker, u64), ask: Ask, tries: u8) {
        let slot = ask.key.slot;
        if let Some(now) = self.reading(node, slot) {
            self.decide(node, from, ask, now);
            return;
        }
        let me = super::machine::node_id(node);
        let record = self
            .process(node)
            .and_then(|it| it.records.get(&slot).copied());
        match record {
            Some(record) if record.owner != me => {
                let owner = node_of(record.owner);
                if ask.proxied && ask.hops < 2 && self.links.open(node, owner).is_some() {
                    self.pass_on(node, owner, from, ask);
                } else if ask.proxied {
                    self.reply(node, from.0, from.1, Answer::Unavailable);
                } else {
                    self.reply(node, from.0, from.1, Answer::NotOwner { slot, record });
                }
            }
            Some(_) if tries < TRIES => {
                let event = NodeEvent::Asked {
                    asker: from.0,
                    request: from.1,
                    ask,
                    tries: tries + 1,
                };
                self.plan_node(node, 50 * MS, event);
            }
            Some(_) => self.reply(node, from.0, from.1, Answer::Overloaded),
            None => self.reply(node, from.0, from.1, Answer::Unavailable),
        }
    }

    fn pass_on(&mut self, node: usize, owner: usize, from: (Asker, u64), ask: Ask) {
        let Some(process) = self.process(node) else {
            return;
        };
        process.requests += 1;
        let request = process.requests;
        process.forwarded.insert(request, from);
        if process.forwarded.len() > FORWARDED_MAX {
            process.forwarded.pop_first();
        }
        let hops = ask.hops + 1;
        let ask = Ask { hops, ..ask };
        self.let_stray_in(node, request);
        self.send(node, owner, Wire::Ask { request, ask });
    }

    /// The answer to a request that was passed on.
    pub(super) fn pass_back(&mut self, node: usize, request: u64, answer: Answer) {
        let waiting = self
            .process(node)
            .and_then(|it| it.forwarded.remove(&request));
        if let Some((asker, asked)) = waiting {
            if let Asker::Client(_) = asker {
                self.coverage.note(("client", "proxied answer"));
            }
            self.reply(node, asker, asked, answer);
        }
    }

    fn decide(&mut self, node: usize, from: (Asker, u64), ask: Ask, now: SlotTime) {
        match ask.what {
            What::Check { cost } => self.check(node, from, ask, (cost, now)),
            What::Refund { grant } => self.refund(node, ask, grant, now),
        }
    }

    fn check(&mut self, node: usize, from: (Asker, u64), ask: Ask, (cost, now): (u64, SlotTime)) {
        let version = self.machines[node].version;
        let key = ask.key;
        let limits = self.options.policies.limits(version, key).clone();
        let id = self.judge.next_grant();
        let lacking = self.lacks_majority(node, key.slot);
        let Some(held) = self.process(node).and_then(|it| it.held.get_mut(&key.slot)) else {
            return;
        };
        let epoch = held.state.at.epoch;
        let quarantined = held.state.quarantined_until > now;
        let verdict = held.state.keys[key.n].peek(&limits, cost, now);
        let Ok(verdict) = verdict else { return };
        if !verdict.granted || quarantined {
            let away_ms = held.state.quarantined_until.ms_since(now);
            let retry_ms = real_ms(verdict.retry_after_ms.max(away_ms));
            let denied = Answer::Denied { retry_ms, version };
            self.reply(node, from.0, from.1, denied);
            return;
        }
        if lacking {
            self.coverage.note(("rule", "no grant without a majority"));
            self.reply(node, from.0, from.1, Answer::Unavailable);
            return;
        }
        if held.state.keys[key.n].check(&limits, cost, now).is_err() {
            return;
        }
        held.changed[key.n] = true;
        held.state.clock = held.state.clock.max(now);
        held.dirty = true;
        held.fresh.push(id);
        self.see(&Fact::Decided(Decided {
            key,
            epoch,
            at_slot: now,
            cost,
            limits: &limits,
        }));
        self.note_change(node, ask);
        let grant = Grant { at: now, cost };
        self.answer_after_commit(node, from, key.slot, Answer::Granted { id, grant });
    }

    fn refund(&mut self, node: usize, ask: Ask, grant: Grant, now: SlotTime) {
        let version = self.machines[node].version;
        let limits = self.options.policies.limits(version, ask.key).clone();
        let Some(held) = self
            .process(node)
            .and_then(|it| it.held.get_mut(&ask.key.slot))
        else {
            return;
        };
        held.state.keys[ask.key.n].refund(&limits, grant, now);
        held.state.clock = held.state.clock.max(now);
        held.dirty = true;
        held.changed[ask.key.n] = true;
        self.commit_soon(node);
        self.note_change(node, ask);
    }

    fn answer_after_commit(&mut self, node: usize, from: (Asker, u64), slot: Slot, answer: Answer) {
        if self.mutated(Mutation::AnswerBeforeWrite) {
            self.reply(node, from.0, from.1, answer);
        } else if let Some(process) = self.process(node) {
            process.uncommitted.push(Waiting {
                ticket: process.commits + 1,
                slot,
                asker: from.0,
                request: from.1,
                answer,
            });
        }
        self.commit_soon(node);
    }

    fn commit_soon(&mut self, node: usize) {
        let after_ns = self.random.between(20_000, 400_000);
        let Some(process) = self.process(node) else {
            return;
        };
        if !std::mem::replace(&mut process.committing, true) {
            self.plan_node(node, after_ns, NodeEvent::Commit);
        }
    }

    /// A pre-copy of the slot is older than its state from now on.
    fn note_change(&mut self, node: usize, ask: Ask) {
        let Some(process) = self.process(node) else {
            return;
        };
        let copies = process.copies.iter_mut();
        for (_, changed) in copies.filter(|((_, slot), _)| *slot == ask.key.slot) {
            changed[ask.key.n] = true;
        }
    }

    /// An answer leaves.
    pub(super) fn reply(&mut self, node: usize, asker: Asker, request: u64, answer: Answer) {
        match asker {
            Asker::Client(client) => {
                if self.lost_on_the_way() {
                    return;
                }
                let after_ns = self.delay_ns().min(20 * MS);
                self.plan(
                    after_ns,
                    Happening::Answered {
                        client,
                        request,
                        answer,
                    },
                );
            }
            Asker::Peer {
                node: peer,
                connection,
            } => {
                if self.links.open(node, peer) == Some(connection) {
                    self.send(node, peer, Wire::Answer { request, answer });
                }
            }
        }
    }

    /// Whether something that a client says or hears is lost.
    pub(super) fn lost_on_the_way(&mut self) -> bool {
        !self.calm && self.random.permille(self.options.client_loss_permille)
    }

    /// A version of the policy set becomes known to a node, which stores it and tells clients.
    pub(super) fn applied(&mut self, node: usize, version: usize) {
        let machine = &mut self.machines[node];
        if machine.version >= version {
            return;
        }
        machine.version = version;
        for client in 0..self.clients.len() {
            if self.random.permille(600) {
                let after_ns = self.random.below(100 * MS);
                self.plan(after_ns, Happening::ToldClient { client, version });
            }
        }
    }
}
