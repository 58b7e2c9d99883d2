//! What a run is like: drawn from its seed, and printed with it.

use std::fmt;

use super::mutations::Mutation;
use super::random::Random;
use super::state::{KEYS_PER_SLOT, Policies};
use crate::limiter::policy::{Durability, Limit, Limits};
use crate::types::Slot;

/// Slots that carry keys: neighbours, ends, and borders of the words of a bitmap.
const SLOTS: [u16; 8] = [0, 1, 63, 64, 700, 2047, 2048, 4095];

/// Replicas of each slot, where there are several.
const REPLICAS: usize = 3;

/// Versions of the policy set in a run.
const VERSIONS: usize = 5;

/// Everything about a run that is not decided step by step.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, drawn from the seed"
)]
pub(super) struct Options {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    /// Nodes that are members from the start.
    pub(super) founders: usize,
    /// How many replicas operators want at first, and whether they change that.
    pub(super) replicas: usize,
    pub(super) resized: bool,
    pub(super) clients: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) policies: Policies,
    pub(super) durability: Durability,
    /// What a start after a power loss does: quarantine, or accept what is there.
    pub(super) quarantine: bool,
    /// Nodes out of sight stay among the targets.
    pub(super) steadfast: bool,
    /// Messages between nodes are also lost one by one, doubled and reordered; else a connection
    /// keeps them in order or loses all.
    pub(super) rough: bool,
    pub(super) delay_us: u64,
    /// How long the faults last.
    pub(super) safety_ns: u64,
    /// Mean time between faults.
    pub(super) fault_every_ms: u64,
    /// Chance of a crash at an effect, a write, or a sync, in a million.
    pub(super) crash_ppm: u64,
    /// Chance that a request or answer of a client is lost.
    pub(super) client_loss_permille: u64,
    /// Chance that a client asks a node that has to pass the request on, although it knows better.
    pub(super) proxied_permille: u64,
    /// Longest time between two operations of a client.
    pub(super) think_ms: u64,
    /// Which faults may happen, one bit each.
    pub(super) faults: u64,
}

impl Options {
    /// The options of a seed; with `harsh` every fault may happen, and often.
    pub(super) fn draw(seed: u64, nodes: usize, harsh: bool) -> Self {
        let mut random = Random::new(seed ^ 0x6f70_7469_6f6e_7300);
        let chosen = random.between(2, 7);
        let mut slots: Vec<Slot> = SLOTS.iter().filter_map(|&n| Slot::new(n)).collect();
        while slots.len() > usize::try_from(chosen).unwrap_or(1) {
            let place = random.place(slots.len());
            slots.remove(place);
        }
        let wanted = random.below(100);
        let replicas = if wanted < 35 || nodes < REPLICAS {
            1
        } else {
            REPLICAS
        };
        let least = if replicas > 1 && random.permille(800) {
            REPLICAS
        } else {
            1
        };
        let founders = least + random.place(nodes + 1 - least);
        let durability = if random.permille(650) {
            Durability::Process
        } else {
            Durability::Fsync
        };
        let crash_ppm = match random.below(3) {
            0 => 0,
            1 => 1000,
            _ => 6000,
        };
        Self {
            seed,
            nodes,
            founders,
            replicas,
            resized: (25..45).contains(&wanted),
            clients: 2 + random.place(4),
            slots,
            policies: policies(&mut random),
            durability,
            quarantine: random.permille(500),
            steadfast: random.permille(500),
            rough: random.permille(250),
            delay_us: [300, 2000, 20_000, 80_000][random.place(4)],
            safety_ns: random.between(8, 20) * 1_000_000_000,
            fault_every_ms: if harsh {
                350
            } else {
                random.between(250, 2500)
            },
            crash_ppm: if harsh { 5000 } else { crash_ppm },
            client_loss_permille: random.below(40),
            proxied_permille: if random.permille(250) { 900 } else { 150 },
            think_ms: random.between(20, 120),
            // each fault is left out of half of the seeds: fewer at once go deeper
            faults: if harsh { u64::MAX } else { random.bits() },
        }
    }

    /// With so many replicas of each slot.
    #[must_use]
    pub(super) fn with_replicas(mut self, replicas: Option<usize>) -> Self {
        if let Some(replicas) = replicas {
            self.replicas = replicas;
            self.resized = false;
            if replicas > 1 {
                self.founders = self.founders.max(REPLICAS.min(self.nodes));
            }
        }
        self
    }

    /// Makes what a mutation takes away matter: some protections count only in some runs.
    #[must_use]
    pub(super) fn directed_at(mut self, mutation: Option<Mutation>) -> Self {
        match mutation {
            Some(Mutation::AnswerBeforeSync) => self.durability = Durability::Fsync,
            Some(Mutation::QuarantineForgotten) => {
                self.durability = Durability::Process;
                self.quarantine = true;
                self.slots.truncate(1);
                self.think_ms = 10;
            }
            Some(Mutation::BootCounterForgotten) => {
                self.proxied_permille = 900;
                self.delay_us = self.delay_us.max(20_000);
            }
            Some(mutation) if mutation.needs_replicas() => {
                return self
                    .with_replicas(Some(REPLICAS))
                    .directed_further(mutation);
            }
            Some(mutation) if mutation.needs_one_replica() => {
                return self.with_replicas(Some(1));
            }
            _ => {}
        }
        self
    }

    /// The same for what matters only with several replicas: what takes them over or cuts them off,
    /// and not so much of all else that nothing is granted.
    fn directed_further(mut self, mutation: Mutation) -> Self {
        self.clients = 5;
        self.think_ms = 15;
        self.slots.truncate(3);
        self.fault_every_ms = 500;
        self.crash_ppm = 500;
        self.steadfast = true;
        self.rough = false;
        self.faults = TAKEOVERS;
        match mutation {
            Mutation::IncompleteTrusted
            | Mutation::OneCompleteOfTwo
            | Mutation::RepairWithoutIncarnation => {
                self.durability = Durability::Process;
                self.faults |= LOSE_POWER;
            }
            Mutation::AnswerBeforeMajority => self.durability = Durability::Process,
            Mutation::ReplicateBelowPromise => {
                // another takes over while the owner does not hear of it, but is heard
                self.durability = Durability::Process;
                self.faults = CUT_ONE_WAY | REWEIGH;
                self.fault_every_ms = 200;
                self.delay_us = 80_000;
                self.crash_ppm = 0;
            }
            Mutation::AcceptedFollowed => {
                (self.nodes, self.founders) = (REPLICAS, REPLICAS);
                self.crash_ppm = 6000;
                self.fault_every_ms = 300;
                self.safety_ns = 20_000_000_000;
            }
            _ => {}
        }
        self
    }
}

/// Bits of the faults that make replicas take over: nodes die, stand still or are cut off, links
/// break, weights change.
const TAKEOVERS: u64 = 0b1000_0001_0111_1001;
/// Bit of the loss of power.
const LOSE_POWER: u64 = 1 << 1;
/// Bit of the cuts of one direction.
const CUT_ONE_WAY: u64 = 1 << 4;
/// Bit of the changes of weights.
const REWEIGH: u64 = 1 << 8;

/// The versions of the policy set: a tight limit, one of wide buckets, and two limits together.
fn policies(random: &mut Random) -> Policies {
    let windows = [random.between(1500, 3500), random.between(2000, 4000), 1000];
    let mut set = || -> [Limits; KEYS_PER_SLOT] {
        let limits = [
            vec![(random.between(3, 9), windows[0])],
            vec![(random.between(80, 160), windows[1])],
            vec![
                (random.between(3, 6), windows[2]),
                (random.between(6, 12), windows[2] * 3),
            ],
        ];
        limits.map(|pairs| {
            let limits = pairs.into_iter().filter_map(|(n, ms)| Limit::new(n, ms));
            Limits::new(limits.collect()).unwrap_or_else(|| Limits::from(SMALLEST))
        })
    };
    Policies::new((0..VERSIONS).map(|_| set()).collect())
}

/// In place of a set without a limit, which none is.
const SMALLEST: Limit = match Limit::new(1, 1000) {
    Some(limit) => limit,
    None => unreachable!(),
};

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<u16> = self.slots.iter().map(|slot| slot.number()).collect();
        write!(
            f,
            "seed {}: {} nodes of which {} found the cluster, {}{} replicas, {} clients, slots {slots:?}, mode {}, \
             {} after a power loss, {} who is out of sight, {} network with delays to {} us, {} s of faults every {} ms \
             ({:x}), {} crashes a million steps, clients lose {} per mille and know better in {} \
             per mille",
            self.seed,
            self.nodes,
            self.founders,
            self.replicas,
            if self.resized { " or other" } else { "" },
            self.clients,
            self.durability.as_str(),
            if self.quarantine {
                "quarantine"
            } else {
                "accept"
            },
            if self.steadfast {
                "waiting for"
            } else {
                "going on without"
            },
            if self.rough { "a rough" } else { "an ordered" },
            self.delay_us,
            self.safety_ns / 1_000_000_000,
            self.fault_every_ms,
            self.faults & 0xffff,
            self.crash_ppm,
            self.client_loss_permille,
            self.proxied_permille,
        )
    }
}
