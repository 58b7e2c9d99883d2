//! An owner with its tracker, replicas with their followers, and links that lose what is on them; and
//! beside them the plain truth: who has had which commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::replication::{Follower, Found, Goal, Parts, Taken, Tracker};
use crate::types::{
    Configuration, Epoch, MonoTime, NodeId, Position, Replicas, Slot, SlotSet, SlotTime,
};

pub(super) const ME: NodeId = NodeId(0);
pub(super) const PEERS: u128 = 4;
pub(super) const SLOTS: u16 = 3;

pub(super) fn slot(n: u16) -> Slot {
    Slot::new(n % SLOTS).unwrap()
}

pub(super) fn set(slots: &[Slot]) -> SlotSet {
    slots.iter().copied().collect()
}

pub(super) const fn epoch(counter: u64) -> Epoch {
    Epoch { counter, node: ME }
}

/// What a replica says, on its way.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few at a time")]
enum Word {
    Applied(u64, SlotSet),
    Synced(u64),
    InSync(Slot, Position),
}

/// One replica.
pub(super) struct Replica {
    pub(super) link: Option<u64>,
    follower: Follower,
    frames: VecDeque<(u64, Vec<(Slot, Position)>)>,
    words: VecDeque<Word>,
    at: BTreeMap<Slot, Position>,
    /// Sealed: it takes nothing in.
    closed: BTreeSet<Slot>,
    applied: u64,
    catching_up: Option<(Slot, Position)>,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            link: None,
            follower: Follower::new(ME, SlotSet::EMPTY),
            frames: VecDeque::new(),
            words: VecDeque::new(),
            at: BTreeMap::new(),
            closed: BTreeSet::new(),
            applied: 0,
            catching_up: None,
        }
    }
}

/// One reign that was ever served.
#[derive(Debug, Clone, Copy)]
struct Reign {
    replicas: Replicas,
    n: u64,
}

pub(super) struct World {
    pub(super) tracker: Tracker,
    parts: Parts,
    pub(super) number: u64,
    links: u64,
    now_ms: u64,
    counter: u64,
    pub(super) serving: BTreeMap<Slot, Epoch>,
    reigns: BTreeMap<Epoch, (Slot, Reign)>,
    /// What each commit brought slots to.
    commits: BTreeMap<u64, Vec<(Slot, Position)>>,
    pub(super) replicas: BTreeMap<NodeId, Replica>,
    /// Who has ever had, and synced, which commits of which reign: all up to this number.
    had: BTreeMap<(NodeId, Epoch), u64>,
    had_synced: BTreeMap<(NodeId, Epoch), u64>,
}

impl World {
    pub(super) fn new() -> Self {
        let peers = (1..=PEERS).map(|n| (NodeId(n), Replica::default()));
        Self {
            tracker: Tracker::new(ME),
            parts: Parts::default(),
            number: 0,
            links: 0,
            now_ms: 0,
            counter: 0,
            serving: BTreeMap::new(),
            reigns: BTreeMap::new(),
            commits: BTreeMap::new(),
            replicas: peers.collect(),
            had: BTreeMap::new(),
            had_synced: BTreeMap::new(),
        }
    }

    /// Freezes the slot, commits what was granted, and serves it in a new reign, for which the
    /// replicas `became` are in place.
    pub(super) fn serve(&mut self, slot: Slot, others: &[NodeId], became: &[NodeId]) {
        self.stop(slot);
        self.counter += 1;
        let epoch = epoch(self.counter);
        let mut nodes = vec![ME];
        nodes.extend_from_slice(others);
        let replicas = Replicas::of(&nodes);
        for peer in became {
            let replica = self.replicas.get_mut(peer).unwrap();
            replica.closed.remove(&slot);
            replica.at.insert(slot, Position { epoch, n: 0 });
            let kept = replica.follower.follow(slot, Position { epoch, n: 0 });
            assert_eq!(kept, Ok(Vec::new()));
        }
        let chosen = Configuration {
            version: self.counter,
            epoch,
            owner: ME,
            replicas,
        };
        self.reigns.insert(epoch, (slot, Reign { replicas, n: 0 }));
        self.serving.insert(slot, epoch);
        self.tracker.serve(slot, &chosen, became);
    }

    pub(super) fn stop(&mut self, slot: Slot) {
        if self.serving.contains_key(&slot) {
            self.tracker.stop(&set(&[slot]));
            // What was granted before the freeze is in the next commit, whose group the tracker must
            // not mistake for replicated.
            self.commit(&[slot], 1);
            self.serving.remove(&slot);
        }
    }

    /// A commit of those of the slots that are served; `ahead` numbers further on.
    pub(super) fn commit(&mut self, slots: &[Slot], ahead: u64) {
        let before = self.number;
        self.number += ahead;
        let mut groups = Vec::new();
        for slot in slots {
            if let Some(epoch) = self.serving.get(slot) {
                let reign = &mut self.reigns.get_mut(epoch).unwrap().1;
                reign.n += 1;
                groups.push((
                    *slot,
                    Position {
                        epoch: *epoch,
                        n: reign.n,
                    },
                ));
            }
        }
        if groups.is_empty() {
            return self.tracker.taken(self.number);
        }
        self.tracker
            .committed(self.number, &groups, &mut self.parts);
        for part in self.parts.iter() {
            let replica = self.replicas.get_mut(&part.peer).unwrap();
            assert_eq!(replica.link, Some(part.link), "sent on a link that is gone");
            let groups = part.groups.iter().map(|&n| groups[n]).collect();
            replica.frames.push_back((self.number, groups));
        }
        // A change may hold any number behind the commit before as its ticket.
        self.commits.insert(before + 1, groups);
    }

    pub(super) fn connect(&mut self, peer: NodeId) {
        self.links += 1;
        let replica = self.replicas.get_mut(&peer).unwrap();
        let behind = replica.at.keys().copied().collect();
        replica.link = Some(self.links);
        replica.follower = Follower::new(ME, behind);
        replica.frames.clear();
        replica.words.clear();
        replica.applied = 0;
        self.tracker.connected(peer, self.links);
    }

    pub(super) fn lose(&mut self, peer: NodeId) {
        let replica = self.replicas.get_mut(&peer).unwrap();
        replica.frames.clear();
        replica.words.clear();
        if let Some(link) = replica.link.take() {
            self.tracker.lost(peer, link);
        }
    }

    /// The replica gets one frame.
    pub(super) fn deliver(&mut self, peer: NodeId) -> bool {
        let replica = self.replicas.get_mut(&peer).unwrap();
        let Some((number, groups)) = replica.frames.pop_front() else {
            return false;
        };
        for (slot, at) in groups {
            match replica.follower.take(slot, at, SlotTime::ZERO, b"group") {
                Taken::Apply => {
                    let found = replica.apply(slot, at);
                    let group = (at, SlotTime::ZERO, &b"group"[..]);
                    replica.follower.applied(slot, group, found);
                }
                Taken::Kept | Taken::Refused => {}
            }
        }
        let refused = replica.follower.take_refused();
        replica.applied = number;
        replica.words.push_back(Word::Applied(number, refused));
        self.note(peer, false);
        true
    }

    /// The replica syncs, and says so.
    pub(super) fn sync(&mut self, peer: NodeId) {
        let replica = self.replicas.get_mut(&peer).unwrap();
        let applied = replica.applied;
        replica.words.push_back(Word::Synced(applied));
        self.note(peer, true);
    }

    /// The owner hears one word.
    pub(super) fn hear(&mut self, peer: NodeId) -> bool {
        let replica = self.replicas.get_mut(&peer).unwrap();
        let (Some(link), Some(word)) = (replica.link, replica.words.pop_front()) else {
            return false;
        };
        match word {
            Word::Applied(through, refused) => {
                assert!(self.tracker.applied(peer, link, through, &refused));
            }
            Word::Synced(through) => assert!(self.tracker.synced(peer, link, through)),
            Word::InSync(slot, at) => self.tracker.in_sync(peer, link, &[(slot, at)]),
        }
        true
    }

    /// The replica begins to catch up: it will get every commit behind the copy.
    pub(super) fn begin_copy(&mut self, peer: NodeId, slot: Slot) {
        let replica = self.replicas.get_mut(&peer).unwrap();
        let (Some(link), Some(epoch)) = (replica.link, self.serving.get(&slot)) else {
            return;
        };
        replica.follower.restart(&set(&[slot]));
        self.tracker.feed(peer, link, &set(&[slot]));
        let n = self.reigns[epoch].1.n;
        replica.catching_up = Some((slot, Position { epoch: *epoch, n }));
    }

    /// The copy is here and installed. The link may be another one by now.
    pub(super) fn end_copy(&mut self, peer: NodeId) {
        let replica = self.replicas.get_mut(&peer).unwrap();
        let Some((slot, at)) = replica.catching_up.take() else {
            return;
        };
        if replica.at.get(&slot).is_some_and(|own| *own > at) {
            return;
        }
        replica.at.insert(slot, at);
        replica.closed.remove(&slot);
        if let Ok(kept) = replica.follower.follow(slot, at) {
            for group in kept {
                assert_eq!(replica.apply(slot, group.at), Found::Done);
            }
            let at = replica.at[&slot];
            self.note(peer, true);
            let replica = self.replicas.get_mut(&peer).unwrap();
            replica.words.push_back(Word::InSync(slot, at));
        } else {
            self.note(peer, true);
        }
    }

    /// The replica promises another reign: it takes nothing in.
    pub(super) fn seal(&mut self, peer: NodeId, slot: Slot) {
        let replica = self.replicas.get_mut(&peer).unwrap();
        replica.closed.insert(slot);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.tracker
            .tick(MonoTime::from_ns(self.now_ms * 1_000_000));
    }

    fn note(&mut self, peer: NodeId, synced: bool) {
        let lists = [Some(&mut self.had), synced.then_some(&mut self.had_synced)];
        for list in lists.into_iter().flatten() {
            for at in self.replicas[&peer].at.values() {
                let n = list.entry((peer, at.epoch)).or_default();
                *n = (*n).max(at.n);
            }
        }
    }

    /// The promise: whatever the watermark has passed has been on a majority, or is lost.
    pub(super) fn check(&self) {
        let marks = self.tracker.replicated();
        for (goal, had) in [
            (Goal::Appended, &self.had),
            (Goal::Synced, &self.had_synced),
        ] {
            for (number, groups) in self.commits.range(..=marks.of(goal)) {
                for (slot, at) in groups {
                    let replicas = self.reigns[&at.epoch].1.replicas;
                    let others = replicas.as_slice().iter().filter(|it| **it != ME);
                    let have = others
                        .filter(|it| had.get(&(**it, at.epoch)).is_some_and(|n| *n >= at.n))
                        .count();
                    assert!(
                        have + 1 >= replicas.majority()
                            || self.tracker.is_lost(*slot, *number, goal),
                        "the commit of ticket {number} of slot {slot} at {at:?} was passed for {goal:?} and is \
                         on {have} others of {replicas:?}"
                    );
                }
            }
        }
    }

    /// No more faults: everything is delivered, and everybody catches up.
    pub(super) fn settle(&mut self) {
        let peers: Vec<NodeId> = self.replicas.keys().copied().collect();
        for &peer in &peers {
            if self.replicas[&peer].link.is_none() {
                self.connect(peer);
            }
            self.replicas.get_mut(&peer).unwrap().catching_up = None;
            for (slot, epoch) in self.serving.clone() {
                if self.reigns[&epoch].1.replicas.contains(peer) {
                    self.begin_copy(peer, slot);
                    self.end_copy(peer);
                }
            }
        }
        self.pass(10);
        for &peer in &peers {
            while self.deliver(peer) {}
            self.sync(peer);
            while self.hear(peer) {}
            self.check();
        }
    }
}

impl Replica {
    /// R1, as the table does it.
    fn apply(&mut self, slot: Slot, at: Position) -> Found {
        if self.closed.contains(&slot) {
            return Found::Closed;
        }
        match self.at.get_mut(&slot) {
            None => Found::Closed,
            Some(own) if own.epoch != at.epoch => Found::Gap,
            Some(own) if at.n <= own.n => Found::Done,
            Some(own) if at.n == own.n + 1 => {
                *own = at;
                Found::Done
            }
            Some(_) => Found::Gap,
        }
    }
}
