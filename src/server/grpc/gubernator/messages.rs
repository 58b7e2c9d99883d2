//! The messages of `pb.gubernator`, with the field numbers of its `gubernator.proto`; what is not
//! looked at is left out.

use prost::Message;

/// `GetRateLimitsReq`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRateLimitsReq {
    #[prost(message, repeated, tag = "1")]
    pub(super) requests: Vec<RateLimitReq>,
}

/// `GetRateLimitsResp`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRateLimitsResp {
    #[prost(message, repeated, tag = "1")]
    pub(super) responses: Vec<RateLimitResp>,
}

/// `RateLimitReq`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RateLimitReq {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) unique_key: String,
    #[prost(int64, tag = "3")]
    pub(super) hits: i64,
    #[prost(int64, tag = "4")]
    pub(super) limit: i64,
    /// Milliseconds.
    #[prost(int64, tag = "5")]
    pub(super) duration: i64,
    /// 0 `TOKEN_BUCKET`, 1 `LEAKY_BUCKET`.
    #[prost(int32, tag = "6")]
    pub(super) algorithm: i32,
    /// Flags; see [`super::plan`].
    #[prost(int32, tag = "7")]
    pub(super) behavior: i32,
    /// Milliseconds since 1970.
    #[prost(int64, optional, tag = "10")]
    pub(super) created_at: Option<i64>,
}

/// `RateLimitResp`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RateLimitResp {
    #[prost(enumeration = "LimitStatus", tag = "1")]
    pub(super) status: i32,
    #[prost(int64, tag = "2")]
    pub(super) limit: i64,
    #[prost(int64, tag = "3")]
    pub(super) remaining: i64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "4")]
    pub(super) reset_time: i64,
    /// Everything else means nothing if it is not empty.
    #[prost(string, tag = "5")]
    pub(super) error: String,
}

/// `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum LimitStatus {
    UnderLimit = 0,
    OverLimit = 1,
}

/// `HealthCheckReq`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct HealthCheckReq {}

/// `HealthCheckResp`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthCheckResp {
    #[prost(string, tag = "1")]
    pub(super) status: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) peer_count: i32,
    #[prost(string, tag = "4")]
    pub(super) advertise_address: String,
}
