//! What is asked: a policy, a key and a cost, checked before it is sent.

use std::fmt;

use bytes::Bytes;

use super::batch::{ASK_BYTES_MAX, encode_ask};
use super::error::CheckError;
use crate::limiter::policy::{Limits, POLICY_NAME_BYTES_MAX, is_policy_name};
use crate::protocol::client::{Ask, PolicyRef, RequestBody, Target};
use crate::protocol::error::WireError;
use crate::types::check_key;

/// One check of a list; see [`Client::check_many`](super::Client::check_many).
#[derive(Clone, PartialEq, Eq)]
pub struct Check<'a> {
    policy: &'a str,
    key: &'a str,
    cost: u64,
    limits: Option<Limits>,
}

impl<'a> Check<'a> {
    /// A check of `key` under `policy` with a cost of 1.
    pub const fn new(policy: &'a str, key: &'a str) -> Self {
        Self {
            policy,
            key,
            cost: 1,
            limits: None,
        }
    }

    /// Permits asked for; 0 only looks.
    #[must_use]
    pub const fn cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// The request brings its own limits along, and the policy's name is where they are counted;
    /// nodes take it where `allow_request_limits` is set.
    #[must_use]
    pub fn limits(self, limits: impl Into<Limits>) -> Self {
        Self {
            limits: Some(limits.into()),
            ..self
        }
    }

    /// Its policy's name.
    pub(super) const fn policy(&self) -> &'a str {
        self.policy
    }

    /// Its key.
    pub(super) const fn key(&self) -> &'a str {
        self.key
    }

    /// Whether it brings its own limits along.
    pub(super) const fn is_carried(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether both are of one key under one policy.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        self.policy == other.policy && self.key == other.key && self.limits == other.limits
    }

    /// Permits asked for.
    pub(super) const fn asked(&self) -> u64 {
        self.cost
    }

    /// Sets the cost.
    pub(super) const fn set_cost(&mut self, cost: u64) {
        self.cost = cost;
    }

    /// The key under its policy, if name and key can be ones.
    pub(super) fn target(&self) -> Result<Target<'a>, CheckError> {
        check_key(self.key)?;
        if !is_policy_name(self.policy) {
            return Err(self.bad_name().into());
        }
        let policy = match &self.limits {
            None => PolicyRef::Named(self.policy),
            Some(limits) => PolicyRef::Carried {
                name: self.policy,
                limits: limits
                    .as_slice()
                    .iter()
                    .map(|limit| (limit.permits(), limit.window_ms()))
                    .collect(),
            },
        };
        Ok(Target {
            policy,
            key: self.key,
        })
    }

    /// As it travels, if name and key can be ones.
    pub(super) fn ask(&self) -> Result<Ask<'a>, CheckError> {
        Ok(Ask {
            target: self.target()?,
            cost: self.cost,
        })
    }

    /// Writes it into `room` as it travels.
    pub(super) fn encode<'r>(
        &self,
        room: &'r mut [u8; ASK_BYTES_MAX],
    ) -> Result<&'r [u8], CheckError> {
        encode_ask(&self.ask()?, room).ok_or_else(|| self.bad_name().into())
    }

    fn bad_name(&self) -> WireError {
        let name: String = self.policy.chars().take(POLICY_NAME_BYTES_MAX).collect();
        match self.limits {
            None => WireError::UnknownPolicy { name },
            Some(_) => WireError::BadRequestLimit {
                name,
                reason: "a name has 1 to 64 ASCII letters, digits, `-`, `_`, `.` and `:`"
                    .to_owned(),
            },
        }
    }
}

impl fmt::Debug for Check<'_> {
    /// Without the key, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("policy", &self.policy)
            .field("cost", &self.cost)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<'a> From<(&'a str, &'a str)> for Check<'a> {
    /// A check of (policy, key) with a cost of 1.
    fn from((policy, key): (&'a str, &'a str)) -> Self {
        Self::new(policy, key)
    }
}

impl<'a> From<(&'a str, &'a str, u64)> for Check<'a> {
    /// A check of (policy, key, cost).
    fn from((policy, key, cost): (&'a str, &'a str, u64)) -> Self {
        Self::new(policy, key).cost(cost)
    }
}

/// A request's body as it travels.
pub(super) fn encode_body(body: &RequestBody<'_>) -> Result<Bytes, CheckError> {
    match postcard::to_stdvec(body) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(CheckError::Refused(WireError::Malformed {
            reason: error.to_string(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::KeyError;

    type Refused = fn(&CheckError) -> bool;

    #[test]
    fn what_cannot_be_asked_is_refused_before_it_is_sent() {
        let long = "k".repeat(257);
        let cases: [(&str, &str, Refused); 6] = [
            ("api", "user", |_| false),
            ("api", "", |e| matches!(e, CheckError::Key(KeyError::Empty))),
            ("api", &long, |e| {
                matches!(e, CheckError::Key(KeyError::TooLong { bytes: 257 }))
            }),
            ("", "user", |e| {
                matches!(e, CheckError::Refused(WireError::UnknownPolicy { .. }))
            }),
            ("a b", "user", |e| {
                matches!(e, CheckError::Refused(WireError::UnknownPolicy { .. }))
            }),
            (
                &long,
                "user",
                |e| matches!(e, CheckError::Refused(WireError::UnknownPolicy { name }) if name.len() == 64),
            ),
        ];
        for (policy, key, refused) in cases {
            let check = Check::new(policy, key);
            let encoded = check.encode(&mut [0; ASK_BYTES_MAX]).map(<[u8]>::to_vec);
            match encoded {
                Ok(_) => assert_eq!((policy, key), ("api", "user")),
                Err(error) => {
                    assert!(refused(&error), "{policy} {key}: {error:?}");
                    assert!(!error.maybe_counted() && !error.is_unavailable());
                }
            }
        }
    }
}
