//! Finds the nodes of a cluster, and asks them all at the same time.
//!
//! It begins with all endpoints of the command line, learns of the others by the answers, and keeps
//! one connection to each for the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributed_rate_limiter::client::{Admin, HotKeys, Ring, RingNode, SlotView};
use distributed_rate_limiter::node::clock::mono_now;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::picture::{Answer, Counted, Picture, Seen};
use super::{has_gone, short};
use crate::nodes::Nodes;
use crate::outcome::{Exit, Failure};

/// How long a node may take to be connected, and to answer each question.
const PEER_WAIT: Duration = Duration::from_secs(2);

/// How long one that was silent the last time may take: a node that is down must not hold up every
/// look at the others.
const AGAIN_WAIT: Duration = Duration::from_millis(700);

/// Time between the two samples that make a rate.
const SAMPLE_GAP: Duration = Duration::from_millis(500);

/// Most nodes that are asked.
const NODES_MAX: usize = 1000;

/// How often nodes are learned from the answers of others: each time from all at once, so that
/// twice would do where all know each other.
const ROUNDS_MAX: usize = 4;

/// What a node says of a slot.
#[derive(Debug, Clone)]
pub(crate) struct ToldSlot {
    pub(crate) node: u128,
    /// Where it was asked.
    pub(crate) address: String,
    /// What it said, or why it said nothing.
    pub(crate) view: Result<SlotView, String>,
}

/// What a node says of the keys that are asked for most.
#[derive(Debug, Clone)]
pub(crate) struct ToldHot {
    pub(crate) node: u128,
    /// Where it was asked.
    pub(crate) address: String,
    /// What it said, or why it said nothing.
    pub(crate) keys: Result<HotKeys, String>,
}

/// All nodes of a cluster that can be found.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    nodes: &'a Nodes,
    open: BTreeMap<u128, Admin>,
    /// Addresses at which nobody answered the last time, and why.
    silent: BTreeMap<String, String>,
    /// What each had counted when it was asked last.
    counted: BTreeMap<u128, Counted>,
}

impl<'a> Cluster<'a> {
    /// The cluster of the nodes that the command line names.
    pub(crate) const fn new(nodes: &'a Nodes) -> Self {
        Self {
            nodes,
            open: BTreeMap::new(),
            silent: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// How the cluster is. The first time it asks twice, since rates need two samples.
    pub(crate) async fn picture(&mut self) -> Result<Picture, Failure> {
        if self.counted.is_empty() {
            self.ask().await?;
            tokio::time::sleep(SAMPLE_GAP).await;
        }
        self.ask().await.map(|seen| Picture::of(&seen))
    }

    /// Asks every node once.
    pub(crate) async fn ask(&mut self) -> Result<Vec<Seen>, Failure> {
        let known = std::mem::take(&mut self.open);
        let asking = known.into_values().map(async |admin| {
            let address = admin.address().to_string();
            (address, question(&admin).await, admin)
        });
        let mut seen = Vec::new();
        for (address, answer, admin) in join_all(asking).await {
            // One that is silent is connected anew, at the address that others tell.
            if let Ok(answer) = answer {
                seen.push(self.take(address, answer, admin));
            }
        }
        if seen.is_empty() {
            seen = self.ask_endpoints().await?;
        }
        for _ in 0..ROUNDS_MAX {
            let unknown = unknown(&seen);
            if unknown.is_empty() {
                break;
            }
            let asking = unknown.into_iter().map(|line| self.ask_peer(line));
            for (node, address, answer) in join_all(asking).await {
                match answer {
                    Ok((answer, admin)) => {
                        self.silent.remove(&address);
                        seen.push(self.take(address, answer, admin));
                    }
                    Err(reason) => {
                        self.silent.insert(address.clone(), reason.clone());
                        seen.push(Seen {
                            node,
                            address,
                            answer: Err(reason),
                        });
                    }
                }
            }
        }
        Ok(seen)
    }

    /// Asks every node for a slot.
    pub(crate) async fn slot(&mut self, slot: u16) -> Result<Vec<ToldSlot>, Failure> {
        let seen = self.ask().await?;
        let open = &self.open;
        let asking = seen.into_iter().map(async |seen| {
            let view = match (seen.answer, open.get(&seen.node)) {
                (Ok(_), Some(admin)) => {
                    let told = admin.slot(slot).await;
                    told.map_err(|error| Failure::from(error).reason())
                }
                (Ok(_), None) => Err("its connection is lost".to_owned()),
                (Err(reason), _) => Err(reason),
            };
            let (node, address) = (seen.node, seen.address);
            ToldSlot {
                node,
                address,
                view,
            }
        });
        Ok(join_all(asking).await)
    }

    /// Asks every node for the keys that are asked for most.
    pub(crate) async fn hot(&mut self) -> Result<Vec<ToldHot>, Failure> {
        let seen = self.ask().await?;
        let open = &self.open;
        let asking = seen.into_iter().map(async |seen| {
            let keys = match (seen.answer, open.get(&seen.node)) {
                (Ok(_), Some(admin)) => {
                    let told = admin.hot().await;
                    told.map_err(|error| Failure::from(error).reason())
                }
                (Ok(_), None) => Err("its connection is lost".to_owned()),
                (Err(reason), _) => Err(reason),
            };
            let (node, address) = (seen.node, seen.address);
            ToldHot {
                node,
                address,
                keys,
            }
        });
        Ok(join_all(asking).await)
    }

    /// Asks every node that the command line names: nodes that were meant to be one cluster and
    /// are not show only so.
    async fn ask_endpoints(&mut self) -> Result<Vec<Seen>, Failure> {
        let asking = self.nodes.endpoints().iter().map(async |endpoint| {
            let asked = async {
                let admin = self.nodes.admin_at(endpoint, PEER_WAIT).await?;
                Ok::<_, Failure>((question(&admin).await?, admin))
            };
            (endpoint, asked.await)
        });
        let mut seen: Vec<Seen> = Vec::new();
        let mut failed = None;
        for (endpoint, asked) in join_all(asking).await {
            match asked {
                Ok((answer, admin)) => {
                    let node = answer.ring.node;
                    if seen.iter().all(|seen| seen.node != node) {
                        seen.push(self.take(admin.address().to_string(), answer, admin));
                    }
                }
                Err(failure) => {
                    self.silent.insert(endpoint.clone(), failure.reason());
                    failed = failed.or(Some(failure));
                }
            }
        }
        match failed {
            Some(failure) if seen.is_empty() => Err(failure),
            Some(_) | None => Ok(seen),
        }
    }

    async fn ask_peer(&self, line: RingNode) -> (u128, String, Result<(Answer, Admin), String>) {
        let asked = async {
            let admin = self.nodes.admin_at(&line.address, PEER_WAIT).await?;
            Ok::<_, Failure>((question(&admin).await?, admin))
        };
        let last = self.silent.get(&line.address);
        let asked = match last {
            None => asked.await.map_err(|failure| failure.reason()),
            Some(reason) => match timeout(AGAIN_WAIT, asked).await {
                Ok(answer) => answer.map_err(|failure| failure.reason()),
                Err(_elapsed) => Err(reason.clone()),
            },
        };
        let answer = asked.and_then(|(answer, admin)| {
            if answer.ring.node == line.node {
                return Ok((answer, admin));
            }
            let other = short(answer.ring.node);
            Err(format!("another node, {other}, is at its address"))
        });
        (line.node, line.address, answer)
    }

    fn take(&mut self, address: String, mut answer: Answer, admin: Admin) -> Seen {
        let node = answer.ring.node;
        let counted = Counted::of(&answer.ring.load, answer.status.as_ref());
        answer.before = self.counted.insert(node, counted);
        self.open.insert(node, admin);
        Seen {
            node,
            address,
            answer: Ok(Box::new(answer)),
        }
    }
}

/// Asks one node for all that it knows.
async fn question(admin: &Admin) -> Result<Answer, Failure> {
    let asked = mono_now();
    let ring = admin.ring().await?;
    let round_trip_us = mono_now().since(asked).as_micros();
    Ok(Answer {
        ring,
        status: admin.status().await.ok(),
        round_trip_us: u64::try_from(round_trip_us).unwrap_or(u64::MAX),
        before: None,
    })
}

/// Nodes that others told of and that were not asked yet, but for those that have left.
fn unknown(seen: &[Seen]) -> Vec<RingNode> {
    let mut known: BTreeSet<u128> = seen.iter().map(|seen| seen.node).collect();
    let room = NODES_MAX.saturating_sub(known.len());
    let told = seen.iter().filter_map(|seen| seen.answer.as_ref().ok());
    let told = told.flat_map(|answer| &answer.ring.nodes);
    let told = told.filter(|line| !has_gone(&line.state) && known.insert(line.node));
    told.take(room).cloned().collect()
}

/// The node of `ring` that `name` means: its address, its id, or the beginning of its id that no
/// other has.
pub(crate) fn find_node<'r>(ring: &'r Ring, name: &str) -> Result<&'r RingNode, Failure> {
    // Logs and errors write it without dashes.
    let plain = name.to_lowercase().replace('-', "");
    let begins = |node: &&RingNode| format!("{:032x}", node.node).starts_with(&plain);
    let found: Vec<&RingNode> = if name.contains(':') {
        let is_at = |node: &&RingNode| node.address == name;
        ring.nodes.iter().filter(is_at).collect()
    } else {
        ring.nodes.iter().filter(begins).collect()
    };
    let known = || {
        let known = ring.nodes.iter();
        let known = known.map(|node| format!("{} at {}", short(node.node), node.address));
        known.collect::<Vec<_>>().join(", ")
    };
    let no = |message: String| {
        Err(Failure::new(Exit::Usage, anyhow::anyhow!(message))
            .hint(format!("the cluster has {}", known())))
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => no(format!("no node of the cluster is `{name}`")),
        [_, _, ..] => no(format!("`{name}` is the beginning of several nodes' ids")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::id;
    use crate::cluster::tests::{answers, ring, seen};

    #[test]
    fn nodes_that_others_tell_of_are_asked_once_each() {
        let mut left = ring(1, &[1, 2, 3, 4, 6], &[]);
        left.nodes[3].state = "left".into();
        left.nodes[4].state = "removed".into();
        let mut all = vec![answers(left), answers(ring(2, &[1, 2, 3, 5], &[]))];
        all.push(seen(5, Err("no")));
        let ids: Vec<u128> = unknown(&all).iter().map(|line| line.node).collect();
        assert_eq!(ids, [3]);
    }

    #[test]
    fn a_node_is_named_by_address_or_by_the_beginning_of_its_id() {
        let ids = [0xaaaa_0000_u128 << 96, 0xaabb_0000 << 96, 0xcc00_0000 << 96];
        let ring = ring(ids[0], &ids, &[]);
        let whole = id(ids[1]);
        for (name, expected) in [
            ("cc", Ok(ids[2])),
            ("CC00", Ok(ids[2])),
            ("aab", Ok(ids[1])),
            (whole.as_str(), Ok(ids[1])),
            ("10.0.0.1:7400", Ok(ids[0])),
            ("aa", Err("the beginning of several")),
            ("", Err("the beginning of several")),
            ("dd", Err("no node of the cluster is `dd`")),
            ("10.0.0.9:7400", Err("no node of the cluster is")),
        ] {
            let found = find_node(&ring, name).map(|node| node.node);
            match (found, expected) {
                (Ok(found), expected) => assert_eq!(Ok(found), expected, "{name}"),
                (Err(failure), Err(said)) => {
                    assert!(failure.reason().contains(said), "{}", failure.reason());
                }
                (Err(failure), Ok(_)) => panic!("{name}: {}", failure.reason()),
            }
        }
    }
}
