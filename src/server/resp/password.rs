//! The password of the Redis protocol. Only its hash is kept, and hashes of equal length are compared
//! in constant time, so that an answer's time tells neither how much of a guess was right nor how long
//! the password is.

use ring::digest::{Digest, SHA256, digest};
use subtle::ConstantTimeEq as _;

/// What clients must know.
#[derive(Clone)]
pub(super) struct Password(Digest);

impl Password {
    /// A password of these bytes.
    pub(super) fn new(password: &[u8]) -> Self {
        Self(digest(&SHA256, password))
    }

    /// Whether this is the password.
    pub(super) fn is(&self, guess: &[u8]) -> bool {
        let guess = digest(&SHA256, guess);
        self.0.as_ref().ct_eq(guess.as_ref()).into()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}
