//! How the HTTP edge is to answer: words that the configuration and the edge share.

use std::fmt;

/// Where the key of a check comes from that names none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyFrom {
    /// Nowhere: every check names its key. The default.
    #[default]
    Request,
    /// The value of this header, in small letters.
    Header(String),
    /// The client's address; of IPv6 the first 64 bits, which one customer has to itself.
    ClientAddress,
}

/// What whoever changes counts over HTTP must show. It is never shown in logs or messages.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {} to {} letters, digits or any of `-._~+/=`",
    BearerToken::BYTES_MIN,
    BearerToken::BYTES_MAX
)]
pub struct NotAToken;

impl BearerToken {
    /// Fewest bytes of a token: shorter ones can be guessed.
    pub const BYTES_MIN: usize = 16;
    /// Most bytes of a token.
    pub const BYTES_MAX: usize = 512;

    /// Reads a token; space around it is left out, as an editor leaves some at the end of a file.
    ///
    /// # Errors
    /// [`NotAToken`].
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let long_enough = (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&text.len());
        let fit = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if long_enough && text.bytes().all(fit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAToken)
        }
    }

    /// Its bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_plain_and_never_shown() {
        let secret = "0123456789abcdef";
        let token = BearerToken::parse(&format!(" {secret}\n")).unwrap();
        assert_eq!(token.as_bytes(), secret.as_bytes());
        assert!(!format!("{token:?}").contains(secret));
        let long = "a".repeat(BearerToken::BYTES_MAX + 1);
        for bad in ["", "short", "has a space in it", "ünüsual-letters-1", &long] {
            assert_eq!(BearerToken::parse(bad), Err(NotAToken), "{bad}");
        }
    }
}
