//! What is done to a node, and how it is undone.

use std::fmt;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::support::{Cluster, PATIENCE, eventually, now_ns};

/// What is done to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9`, and started again at once.
    Killed,
    /// `kill -9`, and started again when the others serve all slots.
    Lost,
    /// SIGSTOP, and SIGCONT later.
    Stopped,
    /// It reaches no other node, but clients.
    CutOff,
    /// It reaches nobody.
    CutOffFromAll,
    /// `kill -9`, and its data directory is gone: a new node joins, and the old one is removed.
    Wiped,
    /// Its disk takes no more.
    Filled,
}

impl Fault {
    /// One of each kind, in a random order; with `RATELIMIT_CHAOS_ONLY` those whose names hold it.
    pub(super) fn round(random: &mut StdRng) -> Vec<Self> {
        let killed = [Self::Killed, Self::Lost][random.random_range(0..2)];
        let cut_off = [Self::CutOff, Self::CutOffFromAll][random.random_range(0..2)];
        let mut round = vec![killed, Self::Stopped, cut_off, Self::Wiped, Self::Filled];
        round.shuffle(random);
        // To look into one kind.
        if let Ok(only) = std::env::var("RATELIMIT_CHAOS_ONLY") {
            round.retain(|it| it.to_string().contains(&only));
            assert!(!round.is_empty(), "no fault's name holds `{only}`");
        }
        round
    }

    /// Whether it is undone only when the others serve all slots.
    pub(super) const fn lasts(self) -> bool {
        match self {
            Self::Killed => false,
            Self::Lost
            | Self::Stopped
            | Self::CutOff
            | Self::CutOffFromAll
            | Self::Wiped
            | Self::Filled => true,
        }
    }

    /// Does it to a node.
    pub(super) fn begin(self, cluster: &mut Cluster, place: usize) {
        match self {
            Self::Killed | Self::Lost => cluster.lose(place),
            Self::Stopped => cluster.node_mut(place).signal("STOP"),
            Self::CutOff => cluster.cut_off(place),
            Self::CutOffFromAll => cluster.cut_off_from_all(place),
            Self::Wiped => cluster.wipe(place),
            Self::Filled => cluster.disk(place).unwrap().fill(0),
        }
    }

    /// Undoes it, and waits until the node serves; `was` is the id that it had.
    pub(super) fn end(self, cluster: &mut Cluster, place: usize, was: u128) {
        match self {
            Self::Killed | Self::Lost => cluster.restart(place),
            Self::Stopped => cluster.node_mut(place).signal("CONT"),
            Self::CutOff | Self::CutOffFromAll => cluster.mend(),
            Self::Wiped => {
                cluster.restart(place);
                remove(cluster, place, was);
            }
            Self::Filled => {
                cluster.disk(place).unwrap().make_room();
                // It has stopped by itself, so that the others take over.
                let node = cluster.node_mut(place);
                let code = node.wait();
                assert_eq!(code, Some(1), "a stop without all counts is no clean one");
                cluster.restart(place);
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Lost => "killed, and away for a while",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off from the others",
            Self::CutOffFromAll => "cut off from all",
            Self::Wiped => "wiped",
            Self::Filled => "its disk full",
        })
    }
}

/// Has the node removed that was wiped, as an operator does, as soon as the others know that it is
/// gone.
fn remove(cluster: &Cluster, place: usize, was: u128) {
    let other = cluster.running().into_iter().find(|it| *it != place);
    let was = format!("{was:032x}");
    let mut said = String::new();
    let given_up = now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    eventually("the wiped node is removed", || {
        let (code, answer) = cluster.ctl(other.unwrap(), &["node", "remove", &was, "--yes"]);
        if said != answer {
            println!(
                "  node remove: {}",
                answer.lines().next().unwrap_or_default()
            );
            said = answer;
        }
        assert!(now_ns() < given_up, "{said}");
        code == Some(0)
    });
}
