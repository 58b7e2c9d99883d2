//! The headers by which clients are told of their limits: a word of the configuration, of the rules for
//! descriptors, and of the edges over HTTP.

/// Which headers tell of limits, in answers over HTTP and in those that Envoy adds to its own. There is
/// no default: of the former it is `ietf`, of the latter `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`, as draft 10 of the IETF has them.
    Ietf,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds from now).
    XRateLimit,
    /// Both.
    Both,
    /// Neither. Over HTTP `Retry-After` is there all the same.
    None,
}

impl HeaderStyle {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ietf, Self::XRateLimit, Self::Both, Self::None];

    /// Whether there are `RateLimit-Policy` and `RateLimit`.
    #[cfg(feature = "server")]
    pub(crate) const fn has_ietf(self) -> bool {
        matches!(self, Self::Ietf | Self::Both)
    }

    /// Whether there are `X-RateLimit-Limit` and its like.
    #[cfg(feature = "server")]
    pub(crate) const fn has_x(self) -> bool {
        matches!(self, Self::XRateLimit | Self::Both)
    }

    /// The word used in `node.toml` and `limits.toml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ietf => "ietf",
            Self::XRateLimit => "x-ratelimit",
            Self::Both => "both",
            Self::None => "none",
        }
    }
}
