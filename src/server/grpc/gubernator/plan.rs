//! What each item of a request asks for.

use super::messages::{LimitStatus, RateLimitReq, RateLimitResp};
use crate::limiter::policy::{POLICY_NAME_BYTES_MAX, is_policy_name};
use crate::server::grpc::ask::{Part, Policy, hashed, state_key};

const GLOBAL: i32 = 2;
const DURATION_IS_GREGORIAN: i32 = 4;
const RESET_REMAINING: i32 = 8;
const MULTI_REGION: i32 = 16;
const DRAIN_OVER_LIMIT: i32 = 32;

/// All flags and their names.
pub(super) const BEHAVIORS: [(&str, i32); 7] = [
    ("BATCHING", 0),
    ("NO_BATCHING", 1),
    ("GLOBAL", GLOBAL),
    ("DURATION_IS_GREGORIAN", DURATION_IS_GREGORIAN),
    ("RESET_REMAINING", RESET_REMAINING),
    ("MULTI_REGION", MULTI_REGION),
    ("DRAIN_OVER_LIMIT", DRAIN_OVER_LIMIT),
];

/// All algorithms and their names.
pub(super) const ALGORITHMS: [(&str, i32); 2] = [("TOKEN_BUCKET", 0), ("LEAKY_BUCKET", 1)];

/// What is not carried over, and why.
const REFUSED: [(i32, &str); 3] = [
    (
        GLOBAL,
        "behavior GLOBAL is not supported: every check is decided by the key's owner, which never \
         lets more through than the limit; leave it out",
    ),
    (
        MULTI_REGION,
        "behavior MULTI_REGION is not supported: a cluster counts in one place; leave it out",
    ),
    (
        DURATION_IS_GREGORIAN,
        "behavior DURATION_IS_GREGORIAN is not supported: windows slide and follow no calendar; \
         send the duration in milliseconds",
    ),
];

/// What the name of a policy begins with, before a hash of it, where it cannot name one.
const HASHED_NAME: &str = "gubernator:";

/// What an item asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    /// Nothing: this is the answer.
    Known(RateLimitResp),
    /// To be counted.
    Count { part: Part, drain: bool },
    /// What is left.
    Look(Part),
    /// To have permits given back.
    GiveBack(Part),
    /// To be forgotten.
    Reset(Part),
}

/// What an item asks for; `now_ms` is the time since 1970.
pub(super) fn plan(request: &RateLimitReq, now_ms: i64) -> Planned {
    if request.unique_key.is_empty() {
        return Planned::Known(error("field 'unique_key' cannot be empty"));
    }
    if request.name.is_empty() {
        return Planned::Known(error("field 'namespace' cannot be empty"));
    }
    let has = |flag: i32| request.behavior & flag != 0;
    if let Some((_, why)) = REFUSED.iter().find(|(flag, _)| has(*flag)) {
        return Planned::Known(error(why));
    }
    let (Some(limit), Some(duration)) = (positive(request.limit), positive(request.duration))
    else {
        return Planned::Known(without_window(request, now_ms));
    };
    let name = if is_policy_name(&request.name) {
        request.name.clone()
    } else {
        let mut name = hashed(HASHED_NAME, &request.name);
        name.truncate(POLICY_NAME_BYTES_MAX);
        name
    };
    let part = Part {
        policy: Policy::Carried {
            name,
            limit: (limit, duration),
        },
        key: state_key(request.unique_key.clone()),
        cost: request.hits.unsigned_abs(),
    };
    match request.hits {
        _ if has(RESET_REMAINING) => Planned::Reset(part),
        0 => Planned::Look(part),
        ..0 => Planned::GiveBack(part),
        1.. => Planned::Count {
            part,
            drain: has(DRAIN_OVER_LIMIT),
        },
    }
}

fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// Of a limit of nothing, or a window that has passed at once.
fn without_window(request: &RateLimitReq, now_ms: i64) -> RateLimitResp {
    let over = request.hits > request.limit;
    let remaining = if over {
        request.limit
    } else {
        request.limit.saturating_sub(request.hits.max(0))
    };
    let status = if over {
        LimitStatus::OverLimit
    } else {
        LimitStatus::UnderLimit
    };
    RateLimitResp {
        status: status as i32,
        limit: request.limit,
        remaining: remaining.max(0),
        reset_time: now_ms.saturating_add(request.duration.max(0)),
        error: String::new(),
    }
}

/// An item's answer that says only what is wrong.
pub(super) fn error(why: &str) -> RateLimitResp {
    RateLimitResp {
        error: why.to_owned(),
        ..RateLimitResp::default()
    }
}
