//! What a caller decides about its calls.

use std::time::Duration;

use super::backoff::WAIT_MAX;
use super::error::CheckError;
use crate::types::{Decision, Source};

/// Default deadline of a call: far more than a healthy node needs, and short enough that callers do
/// not pile up behind one that is not.
pub const DEADLINE_DEFAULT: Duration = Duration::from_millis(500);

/// What a call is answered when nobody who knows the counts can be asked: no node can be reached,
/// none answers in time, or the one asked cannot decide (see [`CheckError::is_unavailable`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnUnavailable {
    /// The error, so that the caller decides. The default.
    #[default]
    Error,
    /// A decision that lets it pass, marked [`Source::Degraded`] and not counted.
    Allow,
    /// A decision that denies, marked [`Source::Degraded`].
    Deny,
}

/// Whether a check or peek that was on its way when its connection was lost is sent once more.
///
/// The first one may have been counted, so that sending it again may cost the key twice; it never
/// lets more through. Refunds, settlements and everything else are never sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResendLost {
    /// Once, on another connection, if there is one before the deadline; and if that one turns out
    /// to be dead too, as after a restart of the whole cluster, on one that is known to live. The
    /// default.
    #[default]
    Once,
    /// Never: the call ends with [`CheckError::ConnectionLost`].
    Never,
}

/// Whether what has no answer for longer than usual is asked of a second node too, and the first
/// answer taken.
///
/// Only peeks are, since they count nothing. That saves a peek whose owner has just been lost, or is
/// hard to reach from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hedging {
    /// A peek that has waited for longer than 99 of the last 100 peeks of this client did (at least
    /// 5 ms and at most 100 ms) is asked of the replica that would take its slot over. So at most one
    /// peek of 20 is asked twice, and a burst of ten. The default.
    #[default]
    Peeks,
    /// Nothing is asked twice.
    Off,
}

/// Whom a client of a cluster asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Routing {
    /// The owner of each key, as the nodes tell. The default.
    #[default]
    Owners,
    /// The seeds only, as a client that knows nothing of owners; they pass checks on.
    Seeds,
    /// A node that is not the owner, where there is one: to measure what passing on costs.
    Others,
}

/// Settings of calls; each clone of a client has its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) deadline: Duration,
    pub(super) on_unavailable: OnUnavailable,
    pub(super) resend_lost: ResendLost,
    pub(super) hedging: Hedging,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: DEADLINE_DEFAULT,
            on_unavailable: OnUnavailable::default(),
            resend_lost: ResendLost::default(),
            hedging: Hedging::default(),
        }
    }
}

impl Settings {
    /// How often a check may be sent.
    pub(super) const fn sends(self) -> u8 {
        match self.resend_lost {
            ResendLost::Once => 2,
            ResendLost::Never => 1,
        }
    }

    /// Whether a request is hedged that only looks, or does not.
    pub(super) const fn hedging_of(self, looks: bool) -> Hedging {
        if looks { self.hedging } else { Hedging::Off }
    }

    /// The answer to a call that ended so.
    pub(super) fn settle_for(
        self,
        outcome: Result<Decision, CheckError>,
    ) -> Result<Decision, CheckError> {
        match (outcome, self.on_unavailable) {
            (Err(error), OnUnavailable::Allow) if error.is_unavailable() => Ok(degraded(true)),
            (Err(error), OnUnavailable::Deny) if error.is_unavailable() => Ok(degraded(false)),
            (outcome, OnUnavailable::Error | OnUnavailable::Allow | OnUnavailable::Deny) => outcome,
        }
    }
}

/// An answer without the counts. If it denies, it is worth coming back when the client has tried
/// to connect again.
fn degraded(allowed: bool) -> Decision {
    Decision {
        retry_after: if allowed { Duration::ZERO } else { WAIT_MAX },
        ..Decision::new(allowed, 0, 0, Source::Degraded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::WireError;

    #[test]
    fn on_unavailable_answers_what_nobody_could_decide_and_nothing_else() {
        let unavailable = [
            CheckError::Overloaded,
            CheckError::ConnectionLost,
            CheckError::Refused(WireError::Unavailable),
            CheckError::Refused(WireError::StorageFailed),
            CheckError::Refused(WireError::Overloaded { retry_ms: 5 }),
        ];
        let mistake = CheckError::Refused(WireError::RequestLimitsOff);
        let decided = Decision::new(true, 5, 4, Source::Owner);
        for (on_unavailable, allowed) in [
            (OnUnavailable::Error, None),
            (OnUnavailable::Allow, Some(true)),
            (OnUnavailable::Deny, Some(false)),
        ] {
            let settings = Settings {
                on_unavailable,
                ..Settings::default()
            };
            for error in unavailable.clone() {
                let answer = settings.settle_for(Err(error)).ok();
                assert_eq!(answer.map(|decision| decision.allowed), allowed);
                assert!(answer.is_none_or(|decision| decision.is_degraded()));
            }
            assert!(settings.settle_for(Err(mistake.clone())).is_err());
            assert_eq!(settings.settle_for(Ok(decided)).unwrap(), decided);
        }
    }
}
