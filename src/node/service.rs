//! The engine as the forwarding and the server see it: requests in, answers out.

use std::sync::atomic::Ordering;

use super::cluster::{self, Cluster};
use super::engine::{Counts, Engine, Mode};
use super::forward::Local;
use super::policies::ActivePolicy;
use crate::limiter::policy::OnFailure;
use crate::limiter::table::{Asked, Change, ChangeError, Outcome, Reserve};
use crate::membership::roster::WEIGHT_MAX;
use crate::protocol::admin::{AdminRequest, AdminResponse, NodeCommand};
use crate::protocol::client::{Ask, RequestBody, ResponseBody, Target};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::server::{Answer, Decided, Wait};
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
        self.batch(asks, mode, answers)
    }

    fn without_owner(&self, ask: &Ask<'_>) -> Decided {
        let policy = self.policies.find(&ask.target.policy, &self.table.shapes)?;
        self.without_counts(&policy, OWNER_RETRY_MS).decision
    }

    fn carry_out(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
        self.command(body)
    }

    fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        self.admin_request(request)
    }

    async fn kept(&self, wait: Wait) -> Result<(), WireError> {
        Self::kept(self, wait)
            .await
            .map_err(|_| WireError::StorageFailed)
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
    /// is not served here.
    pub(super) fn command(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)> {
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
                self.change(target, Change::Refund(grant))
                    .map(|(permits, wait)| (ResponseBody::Refunded { permits }, wait))
            }
            RequestBody::Reserve { ask, ttl_ms } => self.reserve(ask, *ttl_ms),
            RequestBody::Settle {
                target,
                reservation,
                actual,
            } => self.done(target, Change::Settle(ReservationId(*reservation), *actual)),
            RequestBody::Cancel {
                target,
                reservation,
            } => self.done(target, Change::Cancel(ReservationId(*reservation))),
            RequestBody::Reset { target } => self.done(target, Change::Reset),
            RequestBody::Check(_) | RequestBody::Peek(_) | RequestBody::Routes { .. } => {
                let reason = "a check is not a command".into();
                Err(WireError::Malformed { reason }.into())
            }
        };
        match done {
            Ok(done) => Some(done),
            Err(Undone::NotServed) => None,
            Err(Undone::Refused(error)) => {
                Counts::add(&self.counts.errors);
                Some((ResponseBody::Failed(error), None))
            }
        }
    }

    fn admin_request(&self, request: &AdminRequest<'_>) -> AdminResponse {
        match request {
            AdminRequest::Inspect(target) => self
                .inspect(target)
                .map_or_else(AdminResponse::Failed, AdminResponse::Inspected),
            AdminRequest::Policies => AdminResponse::Policies(self.policy_lines()),
            AdminRequest::Status => AdminResponse::Status(Box::new(self.status())),
            AdminRequest::Ring
            | AdminRequest::Owner(_)
            | AdminRequest::Node(_)
            | AdminRequest::PolicyFile
            | AdminRequest::PolicyApply(_) => match self.cluster.get() {
                Some(cluster) => self.cluster_request(cluster, request),
                None => AdminResponse::Failed(WireError::Unavailable),
            },
            AdminRequest::Client(_) => AdminResponse::Failed(WireError::Malformed {
                reason: "a client's request is not an admin's".into(),
            }),
        }
    }

    fn cluster_request(&self, cluster: &Cluster, request: &AdminRequest<'_>) -> AdminResponse {
        match request {
            AdminRequest::Ring => AdminResponse::Ring(Box::new(cluster::ring(self, cluster))),
            AdminRequest::Owner(key) => AdminResponse::Owner(cluster::owner(self, cluster, key)),
            AdminRequest::Node(NodeCommand::Weight(weight))
                if !(1..=WEIGHT_MAX).contains(weight) =>
            {
                let reason = format!("a weight is 1 to {WEIGHT_MAX}");
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
            | AdminRequest::Policies
            | AdminRequest::Status => AdminResponse::Failed(WireError::Unavailable),
        }
    }

    fn done(
        &self,
        target: &Target<'_>,
        change: Change,
    ) -> Result<(ResponseBody, Option<Wait>), Undone> {
        self.change(target, change)
            .map(|(_, wait)| (ResponseBody::Done, wait))
    }

    fn change(&self, target: &Target<'_>, change: Change) -> Result<(u64, Option<Wait>), Undone> {
        self.served(target.key)?;
        self.fence.check().map_err(|_| WireError::StorageFailed)?;
        let policy = self.policies.find(&target.policy, &self.table.shapes)?;
        let mut asked = self.asked(&policy, target.key, 0)?;
        for _ in 0..TRIES_MAX {
            let now = self.now();
            match self.table.change(now, &asked, change) {
                Ok((permits, ticket)) => return Ok((permits, wait_of(ticket, &policy))),
                Err(error) => self.recover_change(error, &mut asked, now)?,
            }
        }
        Err(self.no_room().into())
    }

    fn reserve(&self, ask: &Ask<'_>, ttl_ms: u64) -> Result<(ResponseBody, Option<Wait>), Undone> {
        self.served(ask.target.key)?;
        let policy = self.policies.find(&ask.target.policy, &self.table.shapes)?;
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
                self.without_counts(&policy, 0)
            } else if let Some(left_ms) = self.quarantine_left(&asked, now) {
                self.without_counts(&policy, left_ms)
            } else {
                match self.table.reserve(now, &asked, reserve) {
                    Ok(Outcome::Cold { evictions }) => {
                        let error = ChangeError::Cold { evictions };
                        self.recover_change(error, &mut asked, now)?;
                        continue;
                    }
                    Ok(Outcome::NotServed) => return Err(Undone::NotServed),
                    Ok(outcome) => self.answer(outcome, &policy, Mode::Count),
                    Err(error) => {
                        self.recover_change(error, &mut asked, now)?;
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
        let since = self.quarantine(now, &self.policies.current())?;
        let left_ms = crate::limiter::table::quarantine_left_ms(since, asked.limits, now);
        (left_ms > 0).then_some(left_ms)
    }

    /// Brings a cold state back so that a change can be tried again; other errors are the answer.
    pub(super) fn recover_change(
        &self,
        error: ChangeError,
        asked: &mut Asked<'_>,
        now: SlotTime,
    ) -> Result<(), Undone> {
        match error {
            ChangeError::Cold { evictions } => {
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

    /// Refuses what another node is to be asked, before anything else is said of it.
    fn served(&self, key: &str) -> Result<(), Undone> {
        if self.serves(self.slot_of(key)) {
            Ok(())
        } else {
            Err(Undone::NotServed)
        }
    }
}

/// Why a command was not carried out; nothing has changed.
#[derive(Debug)]
pub(super) enum Undone {
    /// Its slot is not served here.
    NotServed,
    /// For this reason.
    Refused(WireError),
}

impl From<Undone> for WireError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::NotServed => Self::Unavailable,
            Undone::Refused(error) => error,
        }
    }
}

impl From<WireError> for Undone {
    fn from(error: WireError) -> Self {
        Self::Refused(error)
    }
}

fn wait_of(ticket: Option<u64>, policy: &ActivePolicy) -> Option<Wait> {
    ticket.map(|ticket| Wait {
        ticket,
        durability: policy.policy.durability,
    })
}
