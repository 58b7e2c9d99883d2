//! One slot's part of an attempt: what its replicas answered, and what follows from it (T2 to T7).
//!
//! It decides and does nothing. Answers are kept for each node, counted against majorities of the
//! base's replicas, and the state is the one of the highest (epoch, n) among the complete ones.

use super::event::{Origin, TaskId};
use super::message::SealedSlot;
use super::record::same_nodes;
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Position, Replicas, SlotTime};

/// How far a slot of an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// T2: waits for the promises of a majority of the base's replicas, and for T5's answers.
    Sealing,
    /// T4: has a found configuration accepted, unchanged.
    Finishing(Vote),
    /// T5: the state is on its way.
    Fetching {
        /// From whom.
        from: NodeId,
        /// By which effect.
        task: TaskId,
    },
    /// T6: the state is being installed.
    Installing {
        /// By which effect.
        task: TaskId,
    },
    /// T6: the state is here, and is to be at a majority of the new set.
    Becoming {
        /// Who has it.
        by: Vec<NodeId>,
        /// Who will not.
        refused_by: Vec<NodeId>,
    },
    /// T7: has its own configuration accepted.
    Accepting(Vote),
}

/// T6: C', who shall hold the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The replicas of the base, whichever it will be.
    Same,
    /// These.
    These(Replicas),
}

/// Who has accepted what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) proposed: Configuration,
    pub(super) by: Vec<NodeId>,
}

/// What follows from the answers that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// There are too few.
    Wait,
    /// T4.
    Finish(Configuration),
    /// T5: the state is here already, or nowhere.
    Install {
        origin: Origin,
        at: Position,
        clock: SlotTime,
    },
    /// T5.
    Fetch {
        from: NodeId,
        at: Position,
        clock: SlotTime,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Candidate {
    /// T1: the newest configuration known to be chosen.
    pub(super) base: Configuration,
    wanted: Wanted,
    pub(super) step: Step,
    /// Since when it waits for other nodes.
    pub(super) since: MonoTime,
    /// T5, of the best answer.
    pub(super) clock: SlotTime,
    /// T6: what the installed state was made of, which others may hold too; none where it is empty.
    pub(super) made_of: Option<Position>,
    /// Whether this node's own acceptance is written together with the state.
    pub(super) accepts_itself: bool,
    /// Whom the ballot was sent to.
    pub(super) sealed: Vec<NodeId>,
    /// Who was lost before it answered the ballot.
    mute: Vec<NodeId>,
    /// Who was told to become what this node has installed.
    told: Vec<NodeId>,
    answers: Vec<(NodeId, SealedSlot)>,
    /// Proposals that are not answered, in the order in which they were sent: a late answer to one
    /// must not count for the next.
    asked: Vec<(NodeId, u64)>,
}

impl Candidate {
    pub(super) fn new(base: Configuration, wanted: Wanted) -> Self {
        Self {
            base,
            wanted,
            step: Step::Sealing,
            since: MonoTime::default(),
            clock: SlotTime::ZERO,
            made_of: None,
            accepts_itself: false,
            sealed: Vec::new(),
            mute: Vec::new(),
            told: Vec::new(),
            answers: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// T6: C'.
    pub(super) const fn wanted(&self) -> Replicas {
        match self.wanted {
            Wanted::Same => self.base.replicas,
            Wanted::These(replicas) => replicas,
        }
    }

    /// T6: whether the new set's majority has the state as soon as this node alone has it: when the
    /// set stays, or is this node. (Another set needs the state at other replicas first.)
    pub(super) fn one_install_is_enough(&self) -> bool {
        let wanted = self.wanted();
        wanted.majority() == 1 || same_nodes(&wanted, &self.base.replicas)
    }

    /// Nobody can become what nobody has: an empty state needs the replicas that there are. Whether
    /// that will do.
    pub(super) fn settle_for_same(&mut self, me: NodeId) -> bool {
        if !self.one_install_is_enough() && self.base.replicas.contains(me) {
            self.wanted = Wanted::Same;
        }
        self.one_install_is_enough()
    }

    /// Keeps an answer to the seal.
    pub(super) fn answer(&mut self, from: NodeId, answer: &SealedSlot) {
        self.answers.retain(|it| it.0 != from);
        self.answers.push((from, *answer));
    }

    pub(super) fn has_answered(&self, node: NodeId) -> bool {
        self.answers.iter().any(|it| it.0 == node)
    }

    /// T2 to T5: what to do now.
    pub(super) fn next(&self, me: NodeId) -> Next {
        let replicas = &self.base.replicas;
        let of_base = self.answers.iter().filter(|it| replicas.contains(it.0));
        let of_base: Vec<&(NodeId, SealedSlot)> = of_base.collect();
        if of_base.len() < replicas.majority() {
            return Next::Wait;
        }
        if let Some(found) = self.found(&of_base) {
            return Next::Finish(found);
        }
        let complete: Vec<_> = of_base.iter().filter(|it| it.1.complete).collect();
        let enough = complete.len() >= replicas.majority();
        if !enough && of_base.len() < replicas.as_slice().len() {
            return Next::Wait;
        }
        let Some(best) = complete.iter().map(|it| it.1.at).max().filter(|_| enough) else {
            // All have answered, and too few know the counts: start empty, denied for a window.
            let clock = of_base.iter().map(|it| it.1.clock).max();
            let clock = clock.unwrap_or(SlotTime::ZERO);
            return Next::Install {
                origin: Origin::Lost,
                at: Position::default(),
                clock,
            };
        };
        // T5: never a clock of a lower epoch, which may have run ahead of this one.
        let of_epoch = complete.iter().filter(|it| it.1.at.epoch == best.epoch);
        let clock = of_epoch.map(|it| it.1.clock).max();
        let clock = clock.unwrap_or(SlotTime::ZERO);
        let here = |it: &&(NodeId, SealedSlot)| it.0 == me && it.1.complete && it.1.at == best;
        if self.answers.iter().any(|it| here(&it)) {
            return Next::Install {
                origin: Origin::Own,
                at: best,
                clock,
            };
        }
        let holder = complete.iter().find(|it| it.1.at == best);
        holder.map_or(Next::Wait, |it| Next::Fetch {
            from: it.0,
            at: best,
            clock,
        })
    }

    /// T4: of the configurations behind the base that were accepted, the one of the highest ballot.
    fn found(&self, of_base: &[&(NodeId, SealedSlot)]) -> Option<Configuration> {
        let version = self.base.version.checked_add(1)?;
        let accepted = of_base.iter().filter_map(|it| it.1.accepted);
        let behind = accepted.filter(|it| it.1.version == version);
        behind.max_by_key(|it| it.0).map(|it| it.1)
    }

    /// T7: this node's own proposal.
    pub(super) fn own_proposal(&self, me: NodeId, ballot: Epoch) -> Option<Configuration> {
        Some(Configuration {
            version: self.base.version.checked_add(1)?,
            epoch: ballot,
            owner: me,
            replicas: self.wanted(),
        })
    }

    pub(super) const fn vote(&self) -> Option<&Vote> {
        match &self.step {
            Step::Finishing(vote) | Step::Accepting(vote) => Some(vote),
            Step::Sealing
            | Step::Fetching { .. }
            | Step::Installing { .. }
            | Step::Becoming { .. } => None,
        }
    }

    /// Notes that a proposal of `version` was sent to `node`.
    pub(super) fn ask(&mut self, node: NodeId, version: u64) {
        self.asked.push((node, version));
    }

    /// The version of the proposal that an answer of `node` belongs to.
    pub(super) fn answered_proposal(&mut self, node: NodeId) -> Option<u64> {
        let place = self.asked.iter().position(|it| it.0 == node)?;
        Some(self.asked.remove(place).1)
    }

    /// Counts an acceptance of `version`.
    pub(super) fn accepted_by(&mut self, node: NodeId, version: u64) {
        let replicas = self.base.replicas;
        if let Step::Finishing(vote) | Step::Accepting(vote) = &mut self.step
            && vote.proposed.version == version
            && replicas.contains(node)
            && !vote.by.contains(&node)
        {
            vote.by.push(node);
        }
    }

    /// T4, T7: what is chosen by a majority of the *old* set, if anything.
    pub(super) fn chosen(&self) -> Option<Configuration> {
        let vote = self.vote()?;
        (vote.by.len() >= self.base.replicas.majority()).then_some(vote.proposed)
    }

    /// Nothing more will come of what was sent to `peer` (R6).
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.asked.retain(|it| it.0 != peer);
        self.told.retain(|it| *it != peer);
        if self.sealed.contains(&peer) && !self.has_answered(peer) {
            self.mute.push(peer);
        }
    }

    /// T6: notes that `node` is told to become what is installed here, if that can be: not again,
    /// and not if it has told of another state.
    pub(super) fn tell(&mut self, node: NodeId) -> Option<Position> {
        let at = self.made_of?;
        let answer = self.answers.iter().find(|it| it.0 == node);
        let may = answer.is_none_or(|it| it.1.complete && it.1.at == at);
        if !may || self.told.contains(&node) {
            return None;
        }
        self.told.push(node);
        Some(at)
    }

    /// Whether `node` was told to become what is installed here.
    pub(super) fn was_told(&self, node: NodeId) -> bool {
        self.told.contains(&node)
    }

    /// Whether it can still succeed, given who can be `reached`.
    pub(super) fn has_hope(&self, me: NodeId, reached: impl Fn(NodeId) -> bool) -> bool {
        let replicas = self.base.replicas.as_slice().iter();
        let may_answer = match &self.step {
            Step::Installing { .. } => return true,
            Step::Fetching { from, .. } => return reached(*from),
            Step::Becoming { by, refused_by } => {
                let wanted = self.wanted();
                let nodes = wanted.as_slice().iter();
                let may = nodes.filter(|it| {
                    by.contains(it)
                        || (reached(**it) && self.told.contains(it) && !refused_by.contains(it))
                });
                return may.count() >= wanted.majority();
            }
            Step::Sealing => replicas
                .filter(|it| {
                    **it == me
                        || self.has_answered(**it)
                        || (reached(**it) && !self.mute.contains(it))
                })
                .count(),
            Step::Finishing(vote) | Step::Accepting(vote) => replicas
                .filter(|it| {
                    **it == me
                        || vote.by.contains(it)
                        || self.asked.iter().any(|asked| asked.0 == **it)
                })
                .count(),
        };
        may_answer >= self.base.replicas.majority()
    }

    /// T3: starts again from a newer base, with the same ballot; answers stay.
    pub(super) fn rebase(&mut self, base: Configuration) {
        self.base = base;
        self.step = Step::Sealing;
        self.accepts_itself = false;
        self.made_of = None;
        self.told.clear();
    }
}
