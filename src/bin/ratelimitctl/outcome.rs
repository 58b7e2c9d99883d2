//! How a command ends: its exit code, and what is said on stderr when it failed.

use std::io;
use std::process::ExitCode;

use crate::output;

/// What the exit code means; scripts depend on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or allowed.
    Ok = 0,
    /// The answer is no: a check was denied, a file is not valid.
    Denied = 1,
    /// The command line is wrong, or names a file that cannot be read. Clap uses it too.
    Usage = 2,
    /// No node could be reached.
    Unreachable = 3,
    /// The node answered with an error.
    Refused = 4,
    /// Anything else: a fault of the machine or of this program.
    Internal = 5,
}

/// The exit codes, for the end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; for a check: allowed
  1  the answer is no: denied, not valid, damaged
  2  wrong usage, or a file that cannot be read
  3  no node could be reached
  4  the node refused the request
  5  internal error";

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }

    /// The command line, or a file it names, is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// A fault of the machine or of this program.
    pub(crate) fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Internal, error)
    }

    /// The same failure with a line that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What went wrong, with its causes, on one line.
    pub(crate) fn reason(&self) -> String {
        format!("{:#}", self.error)
    }

    /// Whether the reader of stdout has gone away: no fault, and nobody is left to tell.
    fn is_closed_stdout(&self) -> bool {
        self.error
            .downcast_ref::<output::StdoutError>()
            .is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<output::StdoutError> for Failure {
    fn from(error: output::StdoutError) -> Self {
        Self::internal(error)
    }
}

/// Says on stderr what went wrong, and gives the process's exit code.
pub(crate) fn report(outcome: Result<Exit, Failure>) -> ExitCode {
    let exit = match outcome {
        Ok(exit) => exit,
        Err(failure) if failure.is_closed_stdout() => Exit::Ok,
        Err(failure) => {
            output::say(&format!("error: {}", failure.reason()));
            if let Some(hint) = &failure.hint {
                output::say(&format!("hint: {hint}"));
            }
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}
