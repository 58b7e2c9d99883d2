//! What a connection has agreed on: the version of the protocol, and whether it may ask.

use super::password::Password;
use super::refusal::Refusal;
use super::reply::Version;

/// Guesses of the password on one connection; then it is closed.
const GUESSES_MAX: u8 = 8;

/// Longest name that a connection may give itself.
const NAME_BYTES_MAX: usize = 64;

/// One connection's side of the talk.
#[derive(Debug)]
pub(super) struct Session {
    /// Tells the connections of a process apart.
    pub(super) id: u64,
    pub(super) version: Version,
    password: Option<Password>,
    knows_password: bool,
    guesses: u8,
    name: Vec<u8>,
}

impl Session {
    /// A new connection, which must give the password if there is one.
    pub(super) const fn new(id: u64, password: Option<Password>) -> Self {
        Self {
            id,
            version: Version::Two,
            password,
            knows_password: false,
            guesses: 0,
            name: Vec::new(),
        }
    }

    /// Whether it may ask.
    pub(super) const fn is_let_in(&self) -> bool {
        self.password.is_none() || self.knows_password
    }

    /// Whether it guessed too often.
    pub(super) const fn is_guessing(&self) -> bool {
        self.guesses >= GUESSES_MAX
    }

    /// Takes a name and a password; the only name is `default`.
    pub(super) fn log_in(&mut self, name: &[u8], guess: &[u8]) -> Result<(), Refusal> {
        let password = self.password.as_ref().ok_or(Refusal::NoPassword)?;
        let is_right = password.is(guess);
        if name == b"default" && is_right {
            self.knows_password = true;
            return Ok(());
        }
        self.guesses = self.guesses.saturating_add(1);
        Err(Refusal::WrongPassword)
    }

    /// Begins anew, but for the guesses.
    pub(super) fn reset(&mut self) {
        self.version = Version::Two;
        self.knows_password = false;
        self.name = Vec::new();
    }

    /// Its name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Gives it a name.
    pub(super) fn rename(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if name.len() > NAME_BYTES_MAX || !name.iter().all(u8::is_ascii_graphic) {
            return Err(Refusal::Syntax("client|setname"));
        }
        name.clone_into(&mut self.name);
        Ok(())
    }
}
