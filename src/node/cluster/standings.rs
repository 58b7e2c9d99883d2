//! How the replicas of slots stand, told to who asks: what the ownership knows, beside what is here.
//!
//! In sync is who the tracker counts: a grant waits for its acknowledgements.

use super::control::Control;
use crate::protocol::replicas::{ReplicaSet, RingReplicas, SlotConfiguration, SlotEpoch, SlotView};
use crate::types::{Configuration, Epoch, NodeId, Slot, SlotSet, SlotTime};

/// Stands for a slot that is not served here in [`RingReplicas::runs`].
const ELSEWHERE: u16 = u16::MAX;

impl Control {
    /// What is known and held here of a slot.
    pub(super) fn slot_view(&self, slot: Slot) -> SlotView {
        let (seen, table) = (self.ownership.replicas(slot), &self.engine.table);
        let (register, at) = (seen.register, table.position(slot));
        let holds = table.holds(slot);
        let clock = holds.then(|| table.slot_now(slot, self.engine.now()));
        let serves = table.is_served(slot);
        let in_sync = follow(&self.engine.replication.followers(), slot);
        let targets = self.targets.get(slot.index());
        SlotView {
            node: self.engine.about.node.0,
            slot: slot.number(),
            promised: epoch(register.promised),
            chosen: register.chosen.as_ref().map(configuration),
            accepted: register
                .accepted
                .as_ref()
                .map(|(ballot, accepted)| (epoch(*ballot), configuration(accepted))),
            complete: register.complete,
            holds,
            serves,
            at: epoch(at.epoch),
            n: at.n,
            clock_ms: clock.map_or(0, SlotTime::as_ms),
            followed: seen.followed.map(epoch),
            in_sync: ids(&in_sync),
            without_majority: serves && !self.engine.replication.has_majority(slot),
            targets: targets.map_or_else(Vec::new, |it| ids(it.as_slice())),
        }
    }

    /// How the replicas of all slots stand that are served or held here.
    pub(super) fn ring_replicas(&self) -> RingReplicas {
        let mut told = RingReplicas {
            wanted: self.wanted.replicas(),
            possible: u8::try_from(self.targeted.replicas()).unwrap_or(u8::MAX),
            members: u32::try_from(self.targeted.members()).unwrap_or(u32::MAX),
            ..RingReplicas::default()
        };
        let (me, followers) = (self.engine.about.node, self.engine.replication.followers());
        for slot in Slot::all() {
            let seen = self.ownership.replicas(slot);
            let chosen = seen.register.chosen;
            let set = match &chosen {
                Some(chosen) if self.engine.table.is_served(slot) => place(
                    &mut told.sets,
                    replica_set(me, chosen, &follow(&followers, slot)),
                ),
                Some(chosen) if chosen.owner != me && chosen.replicas.contains(me) => {
                    told.held = told.held.saturating_add(1);
                    let is_behind = seen.followed != Some(chosen.epoch);
                    told.behind = told.behind.saturating_add(u32::from(is_behind));
                    ELSEWHERE
                }
                Some(_) | None => ELSEWHERE,
            };
            match told.runs.last_mut() {
                Some((slots, of)) if *of == set => *slots = slots.saturating_add(1),
                Some(_) | None => told.runs.push((1, set)),
            }
        }
        told
    }
}

/// Who holds a slot that `me` serves, and who of them is in sync.
fn replica_set(me: NodeId, chosen: &Configuration, in_sync: &[NodeId]) -> ReplicaSet {
    let mut set = ReplicaSet {
        replicas: ids(chosen.replicas.as_slice()),
        in_sync: 0,
    };
    let is_in_sync = |node: &NodeId| *node == me || in_sync.contains(node);
    for (n, node) in chosen.replicas.as_slice().iter().enumerate() {
        if is_in_sync(node) {
            set.in_sync |= 1 << n;
        }
    }
    set
}

/// Who of these has all of a slot.
fn follow(followers: &[(NodeId, SlotSet)], slot: Slot) -> Vec<NodeId> {
    let all = followers.iter().filter(|(_, slots)| slots.contains(slot));
    all.map(|(node, _)| *node).collect()
}

/// The place of a set among `sets`, where each is once.
fn place(sets: &mut Vec<ReplicaSet>, set: ReplicaSet) -> u16 {
    let known = sets.iter().rposition(|it| *it == set);
    let place = known.unwrap_or_else(|| {
        sets.push(set);
        sets.len().saturating_sub(1)
    });
    u16::try_from(place).unwrap_or(ELSEWHERE)
}

fn ids(nodes: &[NodeId]) -> Vec<u128> {
    nodes.iter().map(|node| node.0).collect()
}

const fn epoch(epoch: Epoch) -> SlotEpoch {
    SlotEpoch {
        counter: epoch.counter,
        node: epoch.node.0,
    }
}

fn configuration(chosen: &Configuration) -> SlotConfiguration {
    SlotConfiguration {
        version: chosen.version,
        epoch: epoch(chosen.epoch),
        owner: chosen.owner.0,
        replicas: ids(chosen.replicas.as_slice()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Replicas;

    #[test]
    fn the_owner_and_who_follows_are_in_sync_and_like_sets_are_told_once() {
        let [a, b, c] = [NodeId(1), NodeId(2), NodeId(3)];
        let of = |nodes: &[NodeId]| Configuration {
            version: 4,
            epoch: Epoch {
                counter: 9,
                node: b,
            },
            owner: b,
            replicas: Replicas::of(nodes),
        };
        let mut sets = Vec::new();
        let mut placed = Vec::new();
        for (replicas, in_sync, expected) in [
            (&[a, b, c][..], &[][..], 0b010),
            (&[a, b, c], &[c], 0b110),
            (&[a, b, c], &[c, a], 0b111),
            // A learner is none of them.
            (&[b], &[c], 0b1),
            (&[a, b, c], &[c], 0b110),
        ] {
            let set = replica_set(b, &of(replicas), in_sync);
            assert_eq!(set.in_sync, expected, "{replicas:?} {in_sync:?}");
            placed.push(place(&mut sets, set));
        }
        assert_eq!((placed, sets.len()), (vec![0, 1, 2, 3, 1], 4));
    }
}
