//! Which strings can be keys.

/// Longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 256;

/// Why a string cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nearly always a header or field that was not there; limiting all such requests together
    /// would be a surprise, so it is refused.
    #[error("the key is empty; send the user, address or API key that is limited")]
    Empty,
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed; send a hash of it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Checks that `key` has 1 to [`KEY_BYTES_MAX`] bytes.
///
/// # Errors
/// [`KeyError`], naming what is wrong. Nothing was counted.
pub(crate) const fn check_key(key: &str) -> Result<(), KeyError> {
    match key.len() {
        0 => Err(KeyError::Empty),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(KeyError::TooLong { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_1_to_256_bytes() {
        let cases = [
            (0, Err(KeyError::Empty)),
            (1, Ok(())),
            (256, Ok(())),
            (257, Err(KeyError::TooLong { bytes: 257 })),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check_key(&"k".repeat(bytes)), expected, "{bytes} bytes");
        }
    }
}
