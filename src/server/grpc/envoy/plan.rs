//! What each descriptor of a request asks for, by the rules of its domain.
//!
//! A descriptor with a `limit` of its own is not held to a rule: it is counted under that limit, where
//! `allow_request_limits` is on, and under a name that is made of the limit alone, so that there are as
//! many names as different limits; its key holds the domain and all its entries. Where it is off the
//! call fails, since to ignore the limit could let more pass than Envoy was told to let.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::r#type::v3::RateLimitUnit;
use tonic::Status;

use crate::limiter::descriptors::{DomainRules, Then, joined};
use crate::server::grpc::ask::{Part, Policy, state_key};

const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 24 * 3600 * SECOND_MS;

/// What a descriptor asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    /// Nothing: no rule is there for it.
    Unmatched,
    /// To pass, whatever was counted.
    Unlimited,
    /// To be over the limit, whatever was counted.
    Blocked,
    /// To be counted.
    Count(Part),
    /// To have permits given back.
    GiveBack(Part),
}

/// What a descriptor asks for in `domain`; `hits` is the request's own addend.
pub(super) fn plan(
    (name, domain): (&str, &DomainRules),
    descriptor: &RateLimitDescriptor,
    hits: u32,
) -> Result<Planned, Status> {
    let entries: Vec<(&str, &str)> = descriptor
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    let (policy, key) = if let Some(limit) = &descriptor.limit {
        let Some(limit) = carried(*limit)? else {
            return Ok(Planned::Blocked);
        };
        let texts = entries.iter().flat_map(|(key, value)| [*key, *value]);
        (limit, joined([name].into_iter().chain(texts)))
    } else {
        let Some(rule) = domain.find(&entries) else {
            return Ok(Planned::Unmatched);
        };
        match (&rule.then, rule.key(&entries)) {
            (Then::Limit { policy, .. }, Some(key)) => (Policy::Named(policy.clone()), key),
            (Then::Blocked, _) => return Ok(Planned::Blocked),
            (Then::Unlimited | Then::Limit { .. }, _) => return Ok(Planned::Unlimited),
        }
    };
    // The request's 0 is what is sent where nothing is said; a descriptor's own 0 is meant.
    let cost = match &descriptor.hits_addend {
        Some(own) => own.value,
        None => u64::from(hits.max(1)),
    };
    let key = state_key(key);
    let part = Part { policy, key, cost };
    Ok(if descriptor.is_negative_hits {
        Planned::GiveBack(part)
    } else {
        Planned::Count(part)
    })
}

/// The policy of a limit that a descriptor brings along; `None` if it lets nothing pass.
fn carried(limit: RateLimitOverride) -> Result<Option<Policy>, Status> {
    let window_ms = match RateLimitUnit::try_from(limit.unit) {
        Ok(RateLimitUnit::Second) => SECOND_MS,
        Ok(RateLimitUnit::Minute) => 60 * SECOND_MS,
        Ok(RateLimitUnit::Hour) => 3600 * SECOND_MS,
        Ok(RateLimitUnit::Day) => DAY_MS,
        Ok(RateLimitUnit::Month) => 30 * DAY_MS,
        Ok(RateLimitUnit::Year) => 365 * DAY_MS,
        Ok(RateLimitUnit::Unknown) | Err(_) => {
            return Err(Status::invalid_argument(format!(
                "a descriptor's limit has the unit {}, which is not known here",
                limit.unit
            )));
        }
    };
    let permits = u64::from(limit.requests_per_unit);
    if permits == 0 {
        return Ok(None);
    }
    Ok(Some(Policy::Carried {
        name: format!("envoy:{permits}-per-{window_ms}ms"),
        limit: (permits, window_ms),
    }))
}
