//! When a replica takes over the slots of an owner that is silent: not before those who are connected
//! have been asked, not where the owner is heard by so many that it may go on serving, and one replica
//! after the other, by rank.
//!
//! Nothing of it is needed for safety: whoever runs the procedure, at any time, the register decides.
//! It keeps replicas from disturbing an owner that is well, and each other. Slots of one replica have
//! no part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attempt::Why;
use super::candidate::Wanted;
use super::ledger::Ledger;
use super::message::Message;
use super::ownership::Ownership;
use super::refusal::Refusal;
use crate::types::{Configuration, MonoTime, NodeId, Slot};

/// Most batches that are taken over at a time.
const TAKE_OVERS_MAX: usize = 8;

/// An owner that is silent, and what others say.
#[derive(Debug)]
struct Suspect {
    asked_at: MonoTime,
    asked: BTreeSet<NodeId>,
    /// Who has answered, and whether the owner has spoken to it lately.
    answers: BTreeMap<NodeId, bool>,
    /// When all had answered, or had the time to; ranks count from here.
    judged_at: Option<MonoTime>,
    jitter: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// When this life began.
    since: Option<MonoTime>,
    heard: BTreeMap<NodeId, MonoTime>,
    suspects: BTreeMap<NodeId, Suspect>,
}

impl Takeover {
    /// A node has said something.
    pub(super) fn hear(&mut self, now: MonoTime, node: NodeId) {
        self.heard.insert(node, now);
    }

    /// The connection to a node is lost, and with it what it was asked.
    pub(super) fn lose(&mut self, node: NodeId) {
        for suspect in self.suspects.values_mut() {
            suspect.asked.remove(&node);
            suspect.answers.remove(&node);
        }
    }

    fn is_silent(&mut self, ledger: &Ledger, node: NodeId) -> bool {
        let since = *self.since.get_or_insert(ledger.now);
        let heard = self.heard.get(&node).copied().unwrap_or(since);
        ledger.now.since(heard) > ledger.settings.silence
    }

    /// Forgets when a node was heard unless it is connected, or owns what this node holds.
    fn prune(&mut self, ledger: &Ledger, owners: &BTreeSet<NodeId>) {
        let silence = ledger.settings.silence;
        self.heard.retain(|node, at| {
            let of_use = ledger.peers.contains(node) || owners.contains(node);
            of_use || ledger.now.since(*at) <= silence
        });
    }
}

impl Ownership {
    /// Another node asks whether an owner has spoken to this one lately.
    pub(super) fn on_ask_heard(&mut self, from: NodeId, owner: NodeId) {
        let ledger = &mut self.ledger;
        let lately = owner == ledger.me || !self.takeover.is_silent(ledger, owner);
        ledger.out.answer(from, Message::Heard { owner, lately });
    }

    /// An answer to that.
    pub(super) fn on_heard(&mut self, from: NodeId, owner: NodeId, lately: bool) {
        let suspect = self.takeover.suspects.get_mut(&owner);
        let Some(suspect) = suspect.filter(|it| it.asked.contains(&from)) else {
            // Normal where the owner has been heard meanwhile.
            self.ledger.refusals.add(Refusal::Unasked);
            return;
        };
        suspect.answers.insert(from, lately);
    }

    /// Looks after the owners of slots that this node is a replica of.
    pub(super) fn watch_owners(&mut self) {
        let ledger = &mut self.ledger;
        let owners: BTreeSet<NodeId> = ledger
            .replicated
            .iter()
            .filter_map(|slot| watched(ledger, slot))
            .map(|it| it.owner)
            .collect();
        let takeover = &mut self.takeover;
        takeover.prune(ledger, &owners);
        takeover.suspects.retain(|owner, _| owners.contains(owner));
        let mut silent = Vec::new();
        for owner in owners {
            if takeover.is_silent(ledger, owner) {
                takeover.suspect(ledger, owner);
                silent.push(owner);
            } else {
                takeover.suspects.remove(&owner);
            }
        }
        for owner in silent {
            self.take_over_from(owner);
        }
    }

    fn take_over_from(&mut self, owner: NodeId) {
        let ledger = &self.ledger;
        let Some(suspect) = self.takeover.suspects.get(&owner) else {
            return;
        };
        if !suspect.is_judged(ledger) || self.coordinator.running(Why::TakeOver) >= TAKE_OVERS_MAX {
            return;
        }
        let due = |slot: &Slot| {
            watched(ledger, *slot).is_some_and(|it| {
                it.owner == owner
                    && suspect.is_due(ledger, it)
                    && self.owner.may_try(ledger.now, *slot)
                    && !self.is_busy(*slot)
                    && ledger.can_reach_majority(*slot)
            })
        };
        let slots: Vec<(Slot, Wanted)> = ledger
            .replicated
            .iter()
            .filter(due)
            .map(|slot| (slot, Wanted::Same))
            .collect();
        let why = (owner, Why::TakeOver);
        self.coordinator.run(&mut self.ledger, why, &slots);
    }
}

impl Takeover {
    /// Asks about a silent owner, now and again.
    fn suspect(&mut self, ledger: &mut Ledger, owner: NodeId) {
        let suspect = self.suspects.entry(owner).or_insert_with(|| {
            let rank = ledger.settings.rank;
            Suspect {
                asked_at: MonoTime::default(),
                asked: BTreeSet::new(),
                answers: BTreeMap::new(),
                judged_at: None,
                jitter: ledger.jitter.stretch(rank).saturating_sub(rank),
            }
        });
        if ledger.now.since(suspect.asked_at) > ledger.settings.silence {
            suspect.asked.clear();
            suspect.answers.clear();
        }
        let peers = ledger.peers.iter().copied().filter(|it| *it != owner);
        // Those too who are reached only now: they may hear the owner.
        let unasked: Vec<NodeId> = peers.filter(|it| !suspect.asked.contains(it)).collect();
        if !unasked.is_empty() {
            suspect.asked_at = ledger.now;
            for &peer in &unasked {
                ledger.out.answer(peer, Message::AskHeard { owner });
            }
            suspect.asked.extend(unasked);
            ledger.out.wake(ledger.now.plus(ledger.settings.ask));
        }
        if suspect.is_judged(ledger) {
            suspect.judged_at.get_or_insert(ledger.now);
        }
    }
}

impl Suspect {
    /// Whether some were asked, and all of them have answered or had the time to.
    fn is_judged(&self, ledger: &Ledger) -> bool {
        let waited = ledger.now.since(self.asked_at) >= ledger.settings.ask;
        let all_answered = self.asked.iter().all(|it| self.answers.contains_key(it));
        !self.asked.is_empty() && (waited || all_answered)
    }

    /// Whether this replica's turn has come, and the owner is not heard by so many that it may go on
    /// serving.
    fn is_due(&self, ledger: &Ledger, chosen: &Configuration) -> bool {
        let owner = chosen.owner;
        let others = chosen.replicas.as_slice().iter().filter(|it| **it != owner);
        let heard = others
            .clone()
            .filter(|it| self.answers.get(it).is_some_and(|lately| *lately))
            .count();
        let rank = others.clone().position(|it| *it == ledger.me).unwrap_or(0);
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        let wait = ledger
            .settings
            .rank
            .saturating_mul(rank)
            .saturating_add(self.jitter);
        heard.saturating_add(1) < chosen.replicas.majority()
            && self.judged_at.is_some_and(|it| it.plus(wait) <= ledger.now)
    }
}

/// What is chosen of a slot that this node holds for another and could take over.
fn watched(ledger: &Ledger, slot: Slot) -> Option<&Configuration> {
    let chosen = ledger.chosen(slot)?;
    let watched = chosen.replicas.majority() > 1
        && chosen.owner != ledger.me
        && chosen.replicas.contains(ledger.me);
    watched.then_some(chosen)
}
