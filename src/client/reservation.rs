//! Work whose cost is known only afterwards: reserve an estimate, then settle or cancel it.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use super::check::Check;
use super::client::Client;
use super::core::Core;
use super::error::CheckError;
use crate::protocol::client::{PolicyRef, RequestBody, ResponseBody, Target};
use crate::types::{Decision, ReservationId};

/// How long a reservation stays open unless told.
pub const RESERVATION_TTL_DEFAULT: Duration = Duration::from_secs(60);

/// A reservation to be awaited; see [`Client::reserve`].
#[derive(Clone)]
#[must_use = "nothing is asked until it is awaited"]
pub struct ReserveCall<'a> {
    client: &'a Client,
    policy: &'a str,
    key: &'a str,
    estimate: u64,
    ttl: Duration,
}

impl fmt::Debug for ReserveCall<'_> {
    /// Without the key, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReserveCall")
            .field("policy", &self.policy)
            .field("estimate", &self.estimate)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl<'a> ReserveCall<'a> {
    pub(super) const fn new(
        client: &'a Client,
        policy: &'a str,
        key: &'a str,
        estimate: u64,
    ) -> Self {
        Self {
            client,
            policy,
            key,
            estimate,
            ttl: RESERVATION_TTL_DEFAULT,
        }
    }

    /// How long it may stay open; [`RESERVATION_TTL_DEFAULT`] unless told. What is settled later
    /// than that stays counted in full.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    async fn reserve(self) -> Result<Reserved, CheckError> {
        let settings = self.client.settings();
        let check = Check::new(self.policy, self.key).cost(self.estimate);
        let answer = reserve_one(self.client.core(), settings.deadline, &check, self.ttl).await;
        let (decision, id) = match answer {
            Ok((decision, id)) => (Ok(decision), id),
            Err(error) => (Err(error), None),
        };
        Ok(Reserved {
            decision: settings.settle_for(decision)?,
            reservation: id.map(|id| Reservation {
                client: self.client.clone(),
                policy: self.policy.to_owned(),
                key: self.key.to_owned(),
                id: ReservationId(id),
            }),
        })
    }
}

impl<'a> IntoFuture for ReserveCall<'a> {
    type Output = Result<Reserved, CheckError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.reserve())
    }
}

/// Reserves the cost of `check` at its owner, unless an earlier denial answers it. Never sent twice.
pub(super) async fn reserve_one(
    core: &Core,
    deadline: Duration,
    check: &Check<'_>,
    ttl: Duration,
) -> Result<(Decision, Option<u64>), CheckError> {
    let (aim, now) = (core.aim(check), core.now());
    if let Some(denial) = core.denial(check, aim, now) {
        return Ok((denial, None));
    }
    let asked = core.denials.asked(now);
    let body = RequestBody::Reserve {
        ask: check.ask()?,
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
    };
    match core.request(aim, &body, deadline).await? {
        ResponseBody::Reserved {
            decision,
            reservation,
        } => {
            let decision = decision.decision(check.asked());
            core.keep_denial(check, aim, asked, &decision);
            Ok((decision, reservation))
        }
        ResponseBody::Decisions(_)
        | ResponseBody::Refunded { .. }
        | ResponseBody::Done
        | ResponseBody::Routes(_)
        | ResponseBody::ReplicaRoutes(_)
        | ResponseBody::Failed(_) => Err(CheckError::UnexpectedAnswer),
    }
}

/// The answer to a reservation.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reserved {
    /// Whether the work may be done.
    pub decision: Decision,
    /// What to settle or cancel; absent if the work may not be done, or nothing was counted.
    pub reservation: Option<Reservation>,
}

/// An open reservation.
///
/// Dropped without [`Reservation::settle`] or [`Reservation::cancel`], or not settled within its
/// time to live, its estimate stays counted in full. Neither call is sent twice: if it fails with
/// [`CheckError::maybe_counted`], it may have been carried out or not.
#[must_use = "settle or cancel it, or its estimate stays counted in full"]
pub struct Reservation {
    client: Client,
    policy: String,
    key: String,
    id: ReservationId,
}

impl fmt::Debug for Reservation {
    /// Without the key, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("policy", &self.policy)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Reservation {
    /// Its number among the key's reservations.
    pub const fn id(&self) -> ReservationId {
        self.id
    }

    /// Replaces the estimate by the permits that were really used: gives the rest back, or counts
    /// the excess, even above the limit.
    ///
    /// # Errors
    /// [`CheckError::Refused`] with [`UnknownReservation`](crate::WireError::UnknownReservation) if
    /// it has expired; else as for a check.
    pub async fn settle(self, actual: u64) -> Result<(), CheckError> {
        let body = RequestBody::Settle {
            target: self.target(),
            reservation: self.id.0,
            actual,
        };
        self.client.give_back(&self.policy, &self.key, &body).await
    }

    /// Gives all of it back: the work was not done.
    ///
    /// # Errors
    /// As for [`Reservation::settle`].
    pub async fn cancel(self) -> Result<(), CheckError> {
        let body = RequestBody::Cancel {
            target: self.target(),
            reservation: self.id.0,
        };
        self.client.give_back(&self.policy, &self.key, &body).await
    }

    fn target(&self) -> Target<'_> {
        Target {
            policy: PolicyRef::Named(&self.policy),
            key: &self.key,
        }
    }
}
