//! Who may look at keys and change them: whoever shows the node's bearer token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::digest::{Digest, SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::problem::{Failure, Problem};
use crate::types::BearerToken;

/// The token, as what is compared: digests, which have one length, in a time that does not tell how
/// much of them is alike.
#[derive(Debug, Clone)]
pub(super) struct Bearer(Option<Digest>);

impl Bearer {
    pub(super) fn new(token: Option<&BearerToken>) -> Self {
        Self(token.map(|token| digest(&SHA256, token.as_bytes())))
    }

    /// Refuses who does not show the token, and everybody if the node has none.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(expected) = &self.0 else {
            return Err(Problem::NoToken
                .because("this node has no bearer token; set token_file in [http] of node.toml"));
        };
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| token_in(value.as_bytes()));
        let shown = digest(&SHA256, shown.unwrap_or_default());
        if bool::from(shown.as_ref().ct_eq(expected.as_ref())) {
            return Ok(());
        }
        let failure =
            Problem::Unauthorized.because("send the node's token: Authorization: Bearer TOKEN");
        Err(failure.challenge())
    }
}

/// The token of `Bearer TOKEN`.
fn token_in(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_very_token_is_let_in() {
        let token = BearerToken::parse("0123456789abcdef").unwrap();
        let (some, none) = (Bearer::new(Some(&token)), Bearer::new(None));
        for (shown, admitted) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer 0123456789abcdef 0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(shown));
            assert_eq!(some.admit(&headers).is_ok(), admitted, "{shown:?}");
            let problem = none.admit(&headers).unwrap_err().problem;
            assert_eq!(problem, Problem::NoToken);
        }
        let problem = some.admit(&HeaderMap::new()).unwrap_err().problem;
        assert_eq!(problem, Problem::Unauthorized);
    }
}
