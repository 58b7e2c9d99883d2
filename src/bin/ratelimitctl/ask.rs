//! Asks the person at the terminal whether to go on.

use std::io::{self, IsTerminal};

use crate::outcome::{Exit, Failure};
use crate::output;

/// Goes on if `sure`, or if the person says yes. `flag` is what to give where nobody can be asked.
///
/// # Errors
/// The person said no, or there is none.
pub(crate) fn confirm(question: &str, sure: bool, flag: &str) -> Result<(), Failure> {
    if sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let nobody = anyhow::anyhow!("it asks before it does this, and there is no terminal");
        return Err(Failure::usage(nobody).hint(format!("give {flag} if you are sure")));
    }
    output::say_over(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::internal)?;
    if is_yes(&answer) {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Denied,
            anyhow::anyhow!("nothing was changed"),
        ))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\n", true),
            ("", false),
            ("\n", false),
            ("n\n", false),
            ("yeah\n", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
        assert!(confirm("?", true, "--yes").is_ok());
    }
}
