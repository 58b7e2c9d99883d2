//! Who answers: SWIM by the `foca` library, driven as `step(now, event) -> effects`.
//!
//! Every probe period a node probes one other, directly and then through others. Who does not
//! answer is suspected, and down unless it says otherwise within the suspicion time. What a node
//! learns it passes on with whatever it sends. (Das, Gupta, Motivala: SWIM, DSN 2002; `foca` adds
//! regular gossip and renewed identities.)
//!
//! What is added here: a packet must come from the node that it names as its sender; no more than
//! [`MEMBERS_MAX`] nodes are remembered; announcements are repeated until answered; a lost
//! connection is a reason to suspect; time in which the process did not run does not count (see
//! [`super::alarms`]).
//!
//! Nothing is decided about slots: a member that is down keeps what it owns.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use foca::{Foca, Member, Notification, PostcardCodec, State, Timer};

use super::alarms::{Alarm, Alarms};
pub(crate) use super::config::SwimConfig;
pub(crate) use super::event::{Liveness, SwimEffect, SwimEvent, SwimRefusals};
use super::identity::Identity;
use super::packet;
use super::random::Random;
use crate::types::{MonoTime, NodeId};

/// Longest packet of gossip: fits into a datagram of a QUIC connection whose packets have 1200
/// bytes, which every path must carry.
pub(crate) const PACKET_BYTES_MAX: usize = 1100;

/// Most nodes of which anything is remembered: no cluster has so many, and forged ones cost little.
pub(crate) const MEMBERS_MAX: usize = 256;

/// How long to wait for an answer to an announcement before it is repeated.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

/// How often an announcement is repeated before the node waits to be told again.
const ANNOUNCEMENTS_MAX: u32 = 30;

/// A node's view of who is alive.
pub(crate) struct Swim {
    foca: Foca<Identity, PostcardCodec, Random, foca::NoCustomBroadcast>,
    config: SwimConfig,
    alarms: Alarms,
    /// What was told about each member last.
    told: BTreeMap<NodeId, (Identity, Liveness)>,
    /// Announcements that were not answered, and how often each was made.
    announced: BTreeMap<NodeId, (Identity, u32)>,
    refusals: SwimRefusals,
    left: bool,
}

impl fmt::Debug for Swim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swim")
            .field("identity", self.identity())
            .field("members", &self.told)
            .finish_non_exhaustive()
    }
}

/// What the library wants done.
#[derive(Debug, Default)]
struct Outbox {
    sends: Vec<(Identity, Vec<u8>)>,
    timers: Vec<(Duration, Timer<Identity>)>,
    news: Vec<SwimEffect>,
}

impl foca::Runtime<Identity> for &mut Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let effect = match notification {
            Notification::Active => SwimEffect::Joined,
            Notification::Idle => SwimEffect::Alone,
            Notification::Rejoin(identity) => SwimEffect::Renewed {
                identity: identity.clone(),
            },
            // Members are compared after each step instead, since suspicion is not notified.
            Notification::MemberUp(_)
            | Notification::MemberDown(_)
            | Notification::Rename(..)
            | Notification::Defunct => return,
        };
        self.news.push(effect);
    }

    fn send_to(&mut self, to: Identity, bytes: &[u8]) {
        self.sends.push((to, bytes.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((after, event));
    }
}

impl Swim {
    /// A node that is alone. The same seed and events give the same effects.
    pub(crate) fn new(identity: Identity, config: SwimConfig, seed: u64) -> Self {
        let random = Random::new(seed);
        Self {
            foca: Foca::new(identity, config.foca(), random, PostcardCodec),
            config,
            alarms: Alarms::default(),
            told: BTreeMap::new(),
            announced: BTreeMap::new(),
            refusals: SwimRefusals::default(),
            left: false,
        }
    }

    /// Under which identity the node is known now.
    pub(crate) fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// All other members that are remembered, and what is thought of each.
    #[cfg(test)]
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Identity, Liveness)> {
        self.told.values().map(|(identity, it)| (identity, *it))
    }

    /// What is thought of a node; `None` if it is not remembered.
    pub(crate) fn liveness(&self, node: NodeId) -> Option<Liveness> {
        self.told.get(&node).map(|(_, liveness)| *liveness)
    }

    /// Datagrams that were refused.
    pub(crate) const fn refusals(&self) -> SwimRefusals {
        self.refusals
    }

    /// Takes notice of an event and of the time. See the module.
    pub(crate) fn step(&mut self, now: MonoTime, event: SwimEvent) -> Vec<SwimEffect> {
        if self.left {
            return Vec::new();
        }
        let mut out = Outbox::default();
        self.alarms.forgive_pause(now);
        match event {
            SwimEvent::Tick => {}
            SwimEvent::Datagram { from, bytes } => self.receive(from, &bytes, &mut out),
            SwimEvent::Announce { to } => self.announce(now, to, &mut out),
            SwimEvent::Doubt { node } => self.doubt(now, node, &mut out),
            SwimEvent::Leave => self.leave(&mut out),
        }
        self.set_timers(now, &mut out);
        while let Some(alarm) = self.alarms.take_due(now) {
            self.ring(now, alarm, &mut out);
            self.set_timers(now, &mut out);
        }
        self.effects(out)
    }

    fn receive(&mut self, from: NodeId, bytes: &[u8], out: &mut Outbox) {
        let short = bytes.len() <= PACKET_BYTES_MAX;
        let packet = short.then(|| packet::read(bytes)).flatten();
        let Some(packet) = packet else {
            count(&mut self.refusals.unreadable);
            return;
        };
        if packet.sender.node != from {
            count(&mut self.refusals.forged);
            return;
        }
        if !self.has_room(packet) {
            count(&mut self.refusals.crowded);
            return;
        }
        if self.foca.handle_data(bytes, out).is_err() {
            count(&mut self.refusals.senseless);
        }
    }

    /// Whether all nodes that a packet speaks of can be remembered.
    fn has_room(&self, packet: packet::Packet) -> bool {
        let mut strangers = packet.mentioned;
        strangers.push(packet.sender.node);
        strangers.retain(|node| !self.told.contains_key(node));
        strangers.sort_unstable();
        strangers.dedup();
        self.told.len().saturating_add(strangers.len()) <= MEMBERS_MAX
    }

    fn announce(&mut self, now: MonoTime, to: Identity, out: &mut Outbox) {
        if to.node == self.identity().node {
            return;
        }
        self.vouch(&to, out);
        if self.announced.is_empty() {
            self.alarms
                .set(now.plus(ANNOUNCE_AGAIN), Alarm::AnnounceAgain);
        } else if self.announced.len() >= MEMBERS_MAX && !self.announced.contains_key(&to.node) {
            return;
        }
        self.announced.insert(to.node, (to.clone(), 1));
        self.tolerate(|foca, out| foca.announce(to, out), out);
    }

    /// A node that has just introduced itself lives, whatever was suspected. It may not have heard of
    /// the suspicion while its connections were cut, so it is cleared in its stead.
    fn vouch(&mut self, who: &Identity, out: &mut Outbox) {
        let suspect = self.foca.iter_members().find(|it| {
            let id = it.id();
            id.node == who.node && id.boot == who.boot && it.state() == State::Suspect
        });
        let Some((id, incarnation)) = suspect.map(|it| (it.id().clone(), it.incarnation())) else {
            return;
        };
        if let Some(next) = incarnation.checked_add(1) {
            let alive = Member::new(id, next, State::Alive);
            self.tolerate(
                |foca, out| foca.apply_many(std::iter::once(alive), true, out),
                out,
            );
        }
    }

    fn announce_again(&mut self, now: MonoTime, out: &mut Outbox) {
        let mut announced = std::mem::take(&mut self.announced);
        announced.retain(|node, (_, times)| {
            *times = times.saturating_add(1);
            *times <= ANNOUNCEMENTS_MAX && !self.is_up(*node)
        });
        for (to, _) in announced.values() {
            let to = to.clone();
            self.tolerate(|foca, out| foca.announce(to, out), out);
        }
        self.announced = announced;
        if !self.announced.is_empty() {
            self.alarms
                .set(now.plus(ANNOUNCE_AGAIN), Alarm::AnnounceAgain);
        }
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.foca.iter_members().any(|it| it.id().node == node)
    }

    fn doubt(&mut self, now: MonoTime, node: NodeId, out: &mut Outbox) {
        let mut members = self.foca.iter_members();
        let alive = members.find(|it| it.id().node == node && it.state() == State::Alive);
        let Some((id, incarnation)) = alive.map(|it| (it.id().clone(), it.incarnation())) else {
            return;
        };
        drop(members);
        let suspect = Member::new(id.clone(), incarnation, State::Suspect);
        self.tolerate(
            |foca, out| foca.apply_many(std::iter::once(suspect), true, out),
            out,
        );
        let at = now.plus(self.config.suspicion);
        self.alarms.set(at, Alarm::Judge(id, incarnation));
    }

    fn leave(&mut self, out: &mut Outbox) {
        self.tolerate(|foca, out| foca.leave_cluster(out), out);
        self.alarms.clear();
        self.announced.clear();
        out.timers.clear();
        self.left = true;
    }

    fn ring(&mut self, now: MonoTime, alarm: Alarm, out: &mut Outbox) {
        match alarm {
            Alarm::Probing(timer) => self.tolerate(|foca, out| foca.handle_timer(timer, out), out),
            Alarm::AnnounceAgain => self.announce_again(now, out),
            Alarm::Judge(id, incarnation) => {
                let accused = Member::new(id, incarnation, State::Suspect);
                if self.foca.iter_members().any(|it| *it == accused) {
                    let down = Member::new(accused.id().clone(), incarnation, State::Down);
                    self.tolerate(
                        |foca, out| foca.apply_many(std::iter::once(down), true, out),
                        out,
                    );
                }
            }
        }
    }

    /// Has the library do something that our own input cannot make fail: it fails if an identity
    /// does not fit into a packet, or a probe was cut off, which it then starts anew by itself.
    fn tolerate(
        &mut self,
        act: impl FnOnce(
            &mut Foca<Identity, PostcardCodec, Random, foca::NoCustomBroadcast>,
            &mut Outbox,
        ) -> Result<(), foca::Error>,
        out: &mut Outbox,
    ) {
        if act(&mut self.foca, out).is_err() {
            count(&mut self.refusals.senseless);
        }
    }

    fn set_timers(&mut self, now: MonoTime, out: &mut Outbox) {
        for (after, timer) in out.timers.drain(..) {
            self.alarms.set(now.plus(after), Alarm::Probing(timer));
        }
    }

    /// All that came of a step, and how the members have changed.
    fn effects(&mut self, out: Outbox) -> Vec<SwimEffect> {
        // When the time of a suspect that has answered is over, the library leaves it alive and yet
        // tells it that it is dead, upon which it would come back under a new identity.
        let is_lively = |to: &Identity| self.foca.iter_members().any(|it| it.id() == to);
        let mut sends = out.sends;
        sends.retain(|(to, bytes)| !(packet::is_notice_of_death(bytes) && is_lively(to)));
        let sends = sends.into_iter();
        let mut effects: Vec<_> = sends
            .map(|(to, bytes)| SwimEffect::Send { to, bytes })
            .collect();
        for member in self.foca.iter_membership_state() {
            let liveness = liveness(member.state());
            let told = self.told.get(&member.id().node);
            let before = told.map(|(_, liveness)| *liveness);
            if told.is_some_and(|(id, it)| id == member.id() && *it == liveness) {
                continue;
            }
            let identity = member.id().clone();
            self.told
                .insert(identity.node, (identity.clone(), liveness));
            effects.extend(change(before, liveness, identity));
        }
        // What the library has forgotten is forgotten here too.
        if self.told.len() > self.foca.iter_membership_state().len() {
            let foca = &self.foca;
            self.told.retain(|_, (identity, _)| {
                let mut known = foca.iter_membership_state();
                known.any(|member| member.id() == identity)
            });
        }
        effects.extend(out.news);
        effects.extend(self.alarms.next_at().map(SwimEffect::WakeAt));
        effects
    }
}

/// What to tell of a member that was `before` and is `after`, perhaps under another identity.
fn change(before: Option<Liveness>, after: Liveness, member: Identity) -> Vec<SwimEffect> {
    let was_up = matches!(before, Some(Liveness::Up | Liveness::Suspect));
    match after {
        Liveness::Up => vec![SwimEffect::MemberUp { member }],
        Liveness::Suspect if was_up => vec![SwimEffect::MemberSuspect { member }],
        Liveness::Suspect => vec![
            SwimEffect::MemberUp {
                member: member.clone(),
            },
            SwimEffect::MemberSuspect { member },
        ],
        Liveness::Down if was_up => vec![SwimEffect::MemberDown { member }],
        Liveness::Down => Vec::new(),
    }
}

const fn liveness(state: State) -> Liveness {
    match state {
        State::Alive => Liveness::Up,
        State::Suspect => Liveness::Suspect,
        State::Down => Liveness::Down,
    }
}

const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
