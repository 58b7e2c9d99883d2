//! The engine as the forwarding and the server see it: requests in, answers out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::OnCold;
use super::cluster::{self, Cluster};
use super::engine::{Counts, Engine, Mode};
use super::forward::Local;
use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::{Limits, OnFailure};
use crate::limiter::table::{Asked, Change, ChangeError, Outcome, Reserve};
use crate::membership::cluster_settings::NotReplicas;
use crate::membership::roster::WEIGHT_MAX;
use crate::protocol::admin::{AdminRequest, AdminResponse, NodeCommand};
use crate::protocol::client::{Ask, RequestBody, ResponseBody, Target};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::protocol::replicas::SlotView;
use crate::server::{Answer, Decided, Kept, Lack, Wait};
use crate::types::{Grant, ReservationId, SLOT_COUNT, Slot, SlotTime};

/// Most times a change of an evicted state is tried; see the engine's bound.
const TRIES_MAX: usize = 4;

/// When who is denied since the key's owner cannot be reached should come back.
const OWNER_RETRY_MS: u64 = 1000;

/// Longest time that a reservation may stay open: a day.
const TTL_MS_MAX: u64 = 24 * 3_600_000;

impl Local for Engine {
    fn welcome(&self, version: u16) -> Welcome {
        Welcome {
            version,
            node: self.about.node.0,
            cluster: self.about.cluster,
            slot_count: SLOT_COUNT,
            key_secret: self.about.key_secret,
            in_flight_max: self.about.in_flight_max,
        }
    }

    fn slot(&self, key: &str) -> Slot {
        self.slot_of(key)
    }

    fn decide(&self, asks: &[Ask<'_>], mode: Mode, answers: &mut Vec<Answer>) -> Vec<usize> {
        self.batch(asks, (mode, OnCold::LeaveOver), answers)
    }

    fn decide_reading(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        answers: &mut Vec<Answer>,
    ) -> Vec<usize> {
        self.batch(asks, (mode, OnCold::Read), answers)
    }

    fn without_owner(&self, ask: &Ask<'_>) -> Decided {
        let policy = self.find_policy(&ask.target.policy)?;
        policy.tally.degraded();
        self.without_counts(&policy, (Lack::Owner, OWNER_RETRY_MS))
            .decision
    }

    fn carry_out(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
        self.command(body, OnCold::LeaveOver)
    }

    fn carry_out_reading(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
        self.command(body, OnCold::Read)
    }

    fn limits(&self, policy: &str, key: &str) -> Result<Limits, WireError> {
        let set = self.policies.current();
        Ok(set.named(policy)?.plan_for(key).limits.clone())
    }

    fn descriptors(&self) -> Arc<DescriptorRules> {
        Arc::clone(self.policies.current().descriptors())
    }

    async fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        self.admin_request(request).await
    }

    async fn kept(&self, wait: Wait) -> Result<Kept, WireError> {
        Self::kept(self, wait)
            .await
            .map_err(|_| WireError::StorageFailed)
    }

    fn is_lost(&self, wait: Wait) -> bool {
        self.replication.is_lost(wait)
    }

    fn connections_changed(&self, open: usize) {
        self.counts
            .connections
            .store(u64::try_from(open).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn turned_away(&self) {
        Counts::add(&self.counts.overloaded);
    }
}

impl Engine {
    /// Carries out any request but checks, peeks and routes; `None`, and nothing is done, if its slot
    /// is not served here, or it is left over as `on_cold` says.
    pub(super) fn command(
        &self,
        body: &RequestBody<'_>,
        on_cold: OnCold,
    ) -> Option<(ResponseBody, Option<Wait>)> {
        let done = match body {
            RequestBody::Refund {
                target,
                at_ms,
                cost,
            } => {
                let grant = Grant {
                    at: SlotTime::from_ms(*at_ms),
                    cost: *cost,
                };
                self.change(target, Change::Refund(grant), on_cold)
                    .map(|(permits, wait)| (ResponseBody::Refunded { permits }, wait))
            }
            RequestBody::Reserve { ask, ttl_ms } => self.reserve(ask, *ttl_ms, on_cold),
            RequestBody::Settle {
                target,
                reservation,
                actual,
            } => {
                let settle = Change::Settle(ReservationId(*reservation), *actual);
                self.done(target, settle, on_cold)
            }
            RequestBody::Cancel {
                target,
                reservation,
            } => self.done(target, Change::Cancel(ReservationId(*reservation)), on_cold),
            RequestBody::Reset { target } => self.done(target, Change::Reset, on_cold),
            RequestBody::Check(_)
            | RequestBody::Peek(_)
            | RequestBody::Routes { .. }
            | RequestBody::ReplicaRoutes { .. } => {
                let reason = "a check is not a command".into();
                Err(WireError::Malformed { reason }.into())
            }
        };
        match done {
            Ok(done) => Some(done),
            Err(Undone::NotServed | Undone::LeftOver) => None,
            Err(Undone::Refused(error)) => {
                Counts::add(&self.counts.errors);
                Some((ResponseBody::Failed(error), None))
            }
        }
    }

    async fn admin_request(&self, request: &AdminRequest<'_>) -> AdminResponse {
        match request {
            AdminRequest::Inspect(target) => self
                .inspect(target)
                .map_or_else(AdminResponse::Failed, AdminResponse::Inspected),
            AdminRequest::Policies => AdminResponse::Policies(self.policy_lines()),
            AdminRequest::Status => AdminResponse::Status(Box::new(self.status())),
            AdminRequest::Hot => AdminResponse::Hot(Box::new(self.counts.hot.told(self.now()))),
            AdminRequest::Ring
            | AdminRequest::Owner(_)
            | AdminRequest::Node(_)
            | AdminRequest::PolicyFile
            | AdminRequest::PolicyApply(_)
            | AdminRequest::Slot(_) => match self.cluster.get() {
                Some(cluster) => self.cluster_request(cluster, request).await,
                None => AdminResponse::Failed(WireError::Unavailable),
            },
            AdminRequest::Client(_) => AdminResponse::Failed(WireError::Malformed {
                reason: "a client's request is not an admin's".into(),
            }),
        }
    }

    async fn cluster_request(
        &self,
        cluster: &Cluster,
        request: &AdminRequest<'_>,
    ) -> AdminResponse {
        match request {
            AdminRequest::Ring => AdminResponse::Ring(Box::new(cluster::ring(self, cluster).await)),
            AdminRequest::Owner(key) => {
                AdminResponse::Owner(cluster::owner(self, cluster, key).await)
            }
            AdminRequest::Slot(number) => slot_view(cluster, *number)
                .await
                .map_or_else(AdminResponse::Failed, AdminResponse::Slot),
            AdminRequest::Node(NodeCommand::Weight(weight))
                if !(1..=WEIGHT_MAX).contains(weight) =>
            {
                let reason = format!("a weight is 1 to {WEIGHT_MAX}");
                AdminResponse::Failed(WireError::Malformed { reason })
            }
            AdminRequest::Node(NodeCommand::Replicas(replicas)) if !matches!(replicas, 1 | 3) => {
                let reason = NotReplicas(*replicas).to_string();
                AdminResponse::Failed(WireError::Malformed { reason })
            }
            AdminRequest::Node(command) => cluster.node_command(command),
            AdminRequest::PolicyFile => {
                AdminResponse::PolicyFile(cluster.policies_in_force().to_admin())
            }
            AdminRequest::PolicyApply(text) => match cluster.apply_policies(self, text) {
                Ok(applied) => AdminResponse::Applied(applied),
                Err(error) => AdminResponse::Failed(WireError::Malformed {
                    reason: error.to_string(),
                }),
            },
            AdminRequest::Client(_)
            | AdminRequest::Inspect(_)
            | AdminRequest::Hot
            | AdminRequest::Policies
            | AdminRequest::Status => AdminResponse::Failed(WireError::Unavailable),
        }
    }

    fn done(
        &self,
        target: &Target<'_>,
        change: Change,
        on_cold: OnCold,
    ) -> Result<(ResponseBody, Option<Wait>), Undone> {
        self.change(target, change, on_cold)
            .map(|(_, wait)| (ResponseBody::Done, wait))
    }

    fn change(
        &self,
        target: &Target<'_>,
        change: Change,
        on_cold: OnCold,
    ) -> Result<(u64, Option<Wait>), Undone> {
        self.served(target.key)?;
        self.fence.check().map_err(|_| WireError::StorageFailed)?;
        let policy = self.find_policy(&target.policy)?;
        let mut asked = self.asked(&policy, target.key, 0)?;
        for _ in 0..TRIES_MAX {
            let now = self.now();
            match self.table.change(now, &asked, change) {
                Ok((permits, ticket)) => {
                    let slot = asked.id.slot();
                    let wait = ticket.map(|ticket| Self::wait_for(ticket, &policy, slot));
                    return Ok((permits, wait));
                }
                Err(error) => self.recover_change(error, &mut asked, (now, on_cold))?,
            }
        }
        Err(self.no_room().into())
    }

    fn reserve(
        &self,
        ask: &Ask<'_>,
        ttl_ms: u64,
        on_cold: OnCold,
    ) -> Result<(ResponseBody, Option<Wait>), Undone> {
        self.served(ask.target.key)?;
        let policy = self.find_policy(&ask.target.policy)?;
        let mut asked = self.asked(&policy, ask.target.key, ask.cost)?;
        if self.fence.is_closed() && policy.policy.on_failure != OnFailure::Allow {
            return Err(WireError::StorageFailed.into());
        }
        let reserve = Reserve {
            id: ReservationId(rand::random()),
            ttl_ms: ttl_ms.clamp(1, TTL_MS_MAX),
        };
        for _ in 0..TRIES_MAX {
            let now = self.now();
            let answer = if self.fence.is_closed() {
                self.without_counts(&policy, (Lack::Storage, 0))
            } else if let Some(left_ms) = self.quarantine_left(&asked, now) {
                self.without_counts(&policy, (Lack::Quarantine, left_ms))
            } else {
                match self.table.reserve(now, &asked, reserve) {
                    Ok(Outcome::Cold { evictions }) => {
                        let error = ChangeError::Cold { evictions };
                        self.recover_change(error, &mut asked, (now, on_cold))?;
                        continue;
                    }
                    Ok(Outcome::NotServed) => return Err(Undone::NotServed),
                    Ok(outcome) => self.answer((asked.id.slot(), outcome), &policy, Mode::Count),
                    Err(error) => {
                        self.recover_change(error, &mut asked, (now, on_cold))?;
                        continue;
                    }
                }
            };
            let decision = answer.decision?;
            let counted = decision.granted_at_ms.is_some();
            let reservation = counted.then_some(reserve.id.0);
            return Ok((
                ResponseBody::Reserved {
                    decision,
                    reservation,
                },
                answer.wait,
            ));
        }
        Err(self.no_room().into())
    }

    /// Time left of the whole node's quarantine for the asked key.
    fn quarantine_left(&self, asked: &Asked<'_>, now: SlotTime) -> Option<u64> {
        let since = self.quarantined(now)?;
        let left_ms = crate::limiter::table::quarantine_left_ms(since, asked.limits, now);
        (left_ms > 0).then_some(left_ms)
    }

    /// Brings a cold state back so that a change can be tried again, or leaves the change over; other
    /// errors are the answer.
    pub(super) fn recover_change(
        &self,
        error: ChangeError,
        asked: &mut Asked<'_>,
        (now, on_cold): (SlotTime, OnCold),
    ) -> Result<(), Undone> {
        match error {
            ChangeError::Cold { evictions } => {
                if on_cold == OnCold::LeaveOver {
                    return Err(Undone::LeftOver);
                }
                asked.absent_at = self
                    .thaw(asked.id, evictions, now)
                    .map_err(|_| self.no_room())?;
                Ok(())
            }
            ChangeError::NotServed => Err(Undone::NotServed),
            ChangeError::UnknownReservation(_) => Err(WireError::UnknownReservation.into()),
            ChangeError::TooManyReservations(_) => {
                let max = u32::try_from(crate::limiter::RESERVATIONS_MAX).unwrap_or(u32::MAX);
                Err(WireError::TooManyReservations { max }.into())
            }
        }
    }

    /// Refuses what another node is to be asked, before anything else is said of it; and what could
    /// not be kept since too few replicas can be reached.
    fn served(&self, key: &str) -> Result<(), Undone> {
        let slot = self.slot_of(key);
        if !self.serves(slot) {
            return Err(Undone::NotServed);
        }
        if self.lacks_majority(slot) {
            return Err(WireError::Unavailable.into());
        }
        Ok(())
    }
}

/// What the node knows of the slot of this number.
async fn slot_view(cluster: &Cluster, number: u16) -> Result<Box<SlotView>, WireError> {
    let slot = Slot::new(number).ok_or_else(|| WireError::Malformed {
        reason: format!("a slot is 0 to {}", SLOT_COUNT.saturating_sub(1)),
    })?;
    cluster.slot(slot).await.map(Box::new)
}

/// Why a command was not carried out; nothing has changed.
#[derive(Debug)]
pub(super) enum Undone {
    /// Its slot is not served here.
    NotServed,
    /// Its state must be read from the store.
    LeftOver,
    /// For this reason.
    Refused(WireError),
}

impl From<Undone> for WireError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::NotServed | Undone::LeftOver => Self::Unavailable,
            Undone::Refused(error) => error,
        }
    }
}

impl From<WireError> for Undone {
    fn from(error: WireError) -> Self {
        Self::Refused(error)
    }
}
