//! Which keys an override names.
//!
//! A text that ends with `*` names all keys that begin with what stands before it; any other text
//! names the one key that it is. A backslash before the last star makes it a plain star, and two
//! backslashes there are one; elsewhere both mean themselves. In a TOML string with double quotes
//! each backslash is written twice, so a literal string is easier to read: `'5\*'`.

use crate::types::KEY_BYTES_MAX;

/// The keys that an override names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// This one.
    Exact(String),
    /// All that begin so.
    Prefix(String),
}

/// Why an override names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeysError {
    /// No key is empty.
    #[error("the key is empty")]
    Empty,
    /// The star alone.
    #[error("`*` would replace the policy's own limits for every key")]
    All,
    /// No key is as long.
    #[error("the key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
}

impl Keys {
    /// The keys that `text` names.
    pub(super) fn parse(text: &str) -> Result<Self, KeysError> {
        let keys = match text.strip_suffix('*') {
            None => Self::Exact(text.to_owned()),
            Some(head) => {
                let plain = head.trim_end_matches('\\');
                let backslashes = head.len() - plain.len();
                let kept = "\\".repeat(backslashes / 2);
                if backslashes.is_multiple_of(2) {
                    Self::Prefix(format!("{plain}{kept}"))
                } else {
                    Self::Exact(format!("{plain}{kept}*"))
                }
            }
        };
        match &keys {
            Self::Exact(key) if key.is_empty() => Err(KeysError::Empty),
            Self::Prefix(prefix) if prefix.is_empty() => Err(KeysError::All),
            Self::Exact(key) | Self::Prefix(key) if key.len() > KEY_BYTES_MAX => {
                Err(KeysError::TooLong { bytes: key.len() })
            }
            Self::Exact(_) | Self::Prefix(_) => Ok(keys),
        }
    }

    /// The text that [`Keys::parse`] reads as these keys.
    pub(super) fn to_text(&self) -> String {
        let doubled = |head: &str| {
            let backslashes = head.len() - head.trim_end_matches('\\').len();
            format!("{head}{}", "\\".repeat(backslashes))
        };
        match self {
            Self::Prefix(prefix) => format!("{}*", doubled(prefix)),
            Self::Exact(key) => match key.strip_suffix('*') {
                Some(head) => format!("{}\\*", doubled(head)),
                None => key.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_last_star_means_a_prefix_unless_a_backslash_says_otherwise() {
        let exact = |key: &str| Ok(Keys::Exact(key.into()));
        let prefix = |key: &str| Ok(Keys::Prefix(key.into()));
        let cases = [
            ("key:partner-7", exact("key:partner-7")),
            ("ip:10.*", prefix("ip:10.")),
            (r"5\*", exact("5*")),
            (r"5\\*", prefix(r"5\")),
            (r"5\\\*", exact(r"5\*")),
            ("a*b", exact("a*b")),
            (r"a\b", exact(r"a\b")),
            ("a**", prefix("a*")),
            (r"\*", exact("*")),
            ("", Err(KeysError::Empty)),
            ("*", Err(KeysError::All)),
        ];
        for (text, expected) in cases {
            assert_eq!(Keys::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_as_long_as_a_request_may_make_them() {
        let longest = "k".repeat(KEY_BYTES_MAX);
        assert_eq!(Keys::parse(&longest), Ok(Keys::Exact(longest.clone())));
        assert_eq!(
            Keys::parse(&format!("{longest}*")),
            Ok(Keys::Prefix(longest.clone()))
        );
        for text in [format!("{longest}k"), format!("{longest}k*")] {
            let bytes = KEY_BYTES_MAX + 1;
            assert_eq!(Keys::parse(&text), Err(KeysError::TooLong { bytes }));
        }
    }

    proptest! {
        #[test]
        fn keys_read_as_they_are_written(text in r"[a\\*]{1,6}", whole: bool) {
            let keys = if whole { Keys::Exact(text) } else { Keys::Prefix(text) };
            prop_assert_eq!(Keys::parse(&keys.to_text()), Ok(keys));
        }
    }
}
