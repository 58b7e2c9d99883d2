//! Protections that can be switched off, to see that the judge notices. All of them live in the
//! world: it carries out effects wrongly, or tells the state machines something that is not so.
//! Production code has no switches.

/// A protection that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// R3: answers before its promise is synced.
    PromiseNotSynced,
    /// O1: an owner that has promised a higher epoch grants on.
    OwnerIgnoresItsPromise,
    /// T8: serves as soon as the state is installed.
    ServeBeforeChosen,
    /// T8: serves when it has asked for acceptance, as if its own were enough.
    ServeOnOwnAcceptance,
    /// T6, T7: proposes its configuration before the state is installed.
    ConfigurationBeforeInstall,
    /// T4: what a replica has accepted is not looked at.
    AcceptedIgnored,
    /// R8: the register goes with the state.
    TombstoneDeleted,
    /// O5: goes on with the epoch of the life before.
    EpochResumed,
    /// Pre-copy: what changed since is not fetched, nor the digest compared.
    RemainderDropped,
    /// T5: the new owner starts from a clock of its own.
    NoClockInHandOff,
    /// T5: a stamp of an epoch before is credited to a later one.
    ClockOfLowerEpoch,
    /// The slot clock goes by the wall clock.
    WallClock,
    /// A wall clock that fell back is credited as if it had gone on.
    NegativeCredited,
    /// R6: nobody tells one life of a node from the next, so that what was on its way to the one
    /// is delivered to the other.
    BootCounterForgotten,
    /// What a check of several keys counted is given back twice.
    UndoTwice,
    /// The denial cache is kept when the policies change.
    DenialsKept,
    /// Group commit: answers leave before what they rest on is written.
    AnswerBeforeWrite,
    /// `fsync`: answers leave before what they rest on is synced.
    AnswerBeforeSync,
    /// G3: a start after a power loss serves at once, although the operator wants a quarantine.
    QuarantineForgotten,
    /// O3: answers leave before a majority has what they rest on.
    AnswerBeforeMajority,
    /// R1: a replica takes in commits of a reign below its promise.
    ReplicateBelowPromise,
    /// R1: a replica takes in what follows a gap.
    GapsAccepted,
    /// R1: a replica forgets what came of a slot and was given up when it was sealed.
    GivenUpForgotten,
    /// R1: a replica takes commits in onto the state of an older reign.
    ReplicateOntoOlderEpoch,
    /// R5: a state that may lack something counts all the same.
    IncompleteTrusted,
    /// R5: what an earlier life had asked for repairs a state.
    RepairWithoutIncarnation,
    /// R7: a node whose disk is empty goes on under its old id.
    WipedDiskUnderOldId,
    /// T4: what a replica has accepted is taken for chosen.
    AcceptedFollowed,
    /// T5: one complete answer is enough, if a majority has answered.
    OneCompleteOfTwo,
    /// T5: of two states that with more commits wins, whatever their epochs.
    HighestNumberWins,
    /// T7: of the old set only those are asked to accept who are in the new one too.
    MajorityOfNewSet,
}

impl Mutation {
    /// Whether it means something only where slots have several replicas.
    pub(super) const fn needs_replicas(self) -> bool {
        matches!(
            self,
            Self::AnswerBeforeMajority
                | Self::ReplicateBelowPromise
                | Self::GapsAccepted
                | Self::ReplicateOntoOlderEpoch
                | Self::IncompleteTrusted
                | Self::RepairWithoutIncarnation
                | Self::AcceptedFollowed
                | Self::OneCompleteOfTwo
                | Self::HighestNumberWins
        )
    }

    /// Whether it is noticed sooner where they have one.
    pub(super) const fn needs_one_replica(self) -> bool {
        matches!(
            self,
            Self::QuarantineForgotten
                | Self::AnswerBeforeSync
                | Self::AnswerBeforeWrite
                | Self::RemainderDropped
                | Self::AcceptedIgnored
                | Self::ClockOfLowerEpoch
                | Self::BootCounterForgotten
                | Self::NoClockInHandOff
                | Self::TombstoneDeleted
        )
    }
}

/// A mutation, and within how many seeds it must be noticed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) mutation: Mutation,
    pub(super) name: &'static str,
    pub(super) seeds: u64,
}

const fn listed(mutation: Mutation, name: &'static str, seeds: u64) -> Listed {
    Listed {
        mutation,
        name,
        seeds,
    }
}

/// All of them, with some three times as many seeds as it takes on average.
pub(super) const MUTATIONS: [Listed; 31] = [
    listed(Mutation::PromiseNotSynced, "promise-not-synced", 30),
    listed(
        Mutation::OwnerIgnoresItsPromise,
        "owner-ignores-its-promise",
        20,
    ),
    listed(Mutation::ServeBeforeChosen, "serve-before-chosen", 80),
    listed(
        Mutation::ServeOnOwnAcceptance,
        "serve-on-own-acceptance",
        80,
    ),
    listed(
        Mutation::ConfigurationBeforeInstall,
        "configuration-before-install",
        20,
    ),
    listed(Mutation::AcceptedIgnored, "accepted-ignored", 250),
    listed(Mutation::TombstoneDeleted, "tombstone-deleted", 30),
    listed(Mutation::EpochResumed, "epoch-resumed", 10),
    listed(Mutation::RemainderDropped, "remainder-dropped", 60),
    listed(Mutation::NoClockInHandOff, "no-clock-in-hand-off", 20),
    listed(Mutation::ClockOfLowerEpoch, "clock-of-lower-epoch", 300),
    listed(Mutation::WallClock, "wall-clock", 20),
    listed(Mutation::NegativeCredited, "negative-credited", 80),
    listed(
        Mutation::BootCounterForgotten,
        "boot-counter-forgotten",
        300,
    ),
    listed(Mutation::UndoTwice, "undo-twice", 40),
    listed(Mutation::DenialsKept, "denials-kept", 30),
    listed(Mutation::AnswerBeforeWrite, "answer-before-write", 50),
    listed(Mutation::AnswerBeforeSync, "answer-before-sync", 50),
    listed(Mutation::QuarantineForgotten, "quarantine-forgotten", 150),
    listed(Mutation::AnswerBeforeMajority, "answer-before-majority", 40),
    listed(
        Mutation::ReplicateBelowPromise,
        "replicate-below-promise",
        100,
    ),
    listed(Mutation::GapsAccepted, "gaps-accepted", 60),
    listed(Mutation::GivenUpForgotten, "given-up-forgotten", 4000),
    listed(
        Mutation::ReplicateOntoOlderEpoch,
        "replicate-onto-older-epoch",
        10,
    ),
    listed(Mutation::IncompleteTrusted, "incomplete-trusted", 150),
    listed(
        Mutation::RepairWithoutIncarnation,
        "repair-without-incarnation",
        60,
    ),
    listed(Mutation::WipedDiskUnderOldId, "wiped-disk-under-old-id", 80),
    listed(Mutation::AcceptedFollowed, "accepted-followed", 4000),
    listed(Mutation::OneCompleteOfTwo, "one-complete-of-two", 60),
    listed(Mutation::HighestNumberWins, "highest-number-wins", 80),
    listed(Mutation::MajorityOfNewSet, "majority-of-new-set", 80),
];

/// Protections that no run switches off, each with its reason.
pub(super) const NOT_SWITCHED_OFF: [(&str, &str); 0] = [];
