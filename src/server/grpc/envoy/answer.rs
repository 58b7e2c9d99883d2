//! What is told of each descriptor, and of the request.

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::google::protobuf::Duration as ProtoDuration;

use super::headers::headers;
use crate::limiter::policy::{Limit, Limits};
use crate::protocol::client::WireDecision;
use crate::server::grpc::all::is_over;
use crate::server::grpc::ask::{Part, Policy};
use crate::server::service::Service;
use crate::server::{Decided, Desk};
use crate::types::HeaderStyle;

/// What is told of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) over: bool,
    /// Absent where nothing is counted.
    pub(super) limit: Option<ToldLimit>,
    /// As Envoy's own service tells it: all there is where nothing is counted without a limit.
    remaining: u64,
}

/// The limit that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToldLimit {
    pub(super) policy: String,
    pub(super) permits: u64,
    pub(super) window_ms: u64,
    pub(super) remaining: u64,
    pub(super) reset_after_ms: u64,
    /// 0 unless it is over the limit.
    pub(super) retry_after_ms: u64,
}

/// Of a descriptor that passes since no rule is there for it.
pub(super) const fn passing() -> Told {
    Told {
        over: false,
        limit: None,
        remaining: 0,
    }
}

/// Of one that always passes.
pub(super) const fn unlimited() -> Told {
    Told {
        over: false,
        limit: None,
        remaining: u64::MAX,
    }
}

/// Of one that never passes.
pub(super) const fn blocked() -> Told {
    Told {
        over: true,
        limit: None,
        remaining: 0,
    }
}

/// Of one that was decided.
pub(super) fn counted<S: Service>(desk: &Desk<S>, part: &Part, answer: &Decided) -> Told {
    let over = is_over(answer);
    let (name, limits) = match &part.policy {
        Policy::Named(name) => (name, desk.limits(name, &part.key).ok()),
        Policy::Carried { name, limit } => {
            let (permits, window_ms) = *limit;
            (name, Limit::new(permits, window_ms).map(Limits::from))
        }
    };
    let limit = limits.map(|limits| told_limit(name, &limits, answer.as_ref().ok()));
    Told {
        over,
        remaining: limit.as_ref().map_or(0, |limit| limit.remaining),
        limit,
    }
}

/// Of a cost that is above a limit there is no decision: the smallest limit is the one.
fn told_limit(name: &str, limits: &Limits, decision: Option<&WireDecision>) -> ToldLimit {
    let permits = decision.map_or_else(|| limits.least_permits(), |decision| decision.limit);
    let deciding = limits
        .as_slice()
        .iter()
        .find(|limit| limit.permits() == permits);
    ToldLimit {
        policy: name.to_owned(),
        permits,
        window_ms: deciding.map_or(0, |limit| limit.window_ms()),
        remaining: decision.map_or(0, |decision| decision.remaining.min(permits)),
        reset_after_ms: decision.map_or(0, |decision| decision.reset_after_ms),
        retry_after_ms: decision.map_or(0, |decision| decision.retry_after_ms),
    }
}

/// The answer to a request.
pub(super) fn response(told: Vec<Told>, style: HeaderStyle) -> RateLimitResponse {
    let over = told.iter().any(|told| told.over);
    RateLimitResponse {
        overall_code: code(over),
        response_headers_to_add: headers(&told, style),
        statuses: told.into_iter().map(descriptor_status).collect(),
        ..RateLimitResponse::default()
    }
}

const fn code(over: bool) -> i32 {
    let code = if over { Code::OverLimit } else { Code::Ok };
    code as i32
}

fn descriptor_status(told: Told) -> DescriptorStatus {
    let duration_until_reset = told
        .limit
        .as_ref()
        .map(|limit| duration(limit.reset_after_ms));
    DescriptorStatus {
        code: code(told.over),
        limit_remaining: narrow(told.remaining),
        duration_until_reset,
        current_limit: told.limit.map(|limit| RateLimit {
            requests_per_unit: narrow(limit.permits),
            unit: unit(limit.window_ms) as i32,
            name: limit.policy,
        }),
        ..DescriptorStatus::default()
    }
}

/// The unit of a window; unknown for one that Envoy has no word for.
const fn unit(window_ms: u64) -> Unit {
    match window_ms {
        1000 => Unit::Second,
        60_000 => Unit::Minute,
        3_600_000 => Unit::Hour,
        86_400_000 => Unit::Day,
        604_800_000 => Unit::Week,
        2_592_000_000 => Unit::Month,
        31_536_000_000 => Unit::Year,
        _ => Unit::Unknown,
    }
}

fn duration(ms: u64) -> ProtoDuration {
    let nanos = ms.checked_rem(1000).unwrap_or(0).saturating_mul(1_000_000);
    ProtoDuration {
        seconds: i64::try_from(ms.div_euclid(1000)).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

fn narrow(permits: u64) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}
