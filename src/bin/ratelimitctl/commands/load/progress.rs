//! The line on stderr that tells how a load is doing, if a person is there to see it.

use std::io::{self, IsTerminal};

use super::tally::Counts;
use crate::output::{self, number, percent};

/// The line, and what it showed last.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    last: Counts,
    seconds: u64,
}

impl Progress {
    /// Shows nothing unless stderr is a terminal.
    pub(super) fn new() -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            last: Counts::default(),
            seconds: 0,
        }
    }

    /// Another second has passed.
    pub(super) fn second(&mut self, counts: Counts) {
        self.seconds += 1;
        if self.shown {
            output::say_over(&line(self.seconds, self.last, counts));
        }
        self.last = counts;
    }

    /// Leaves the terminal to what comes next.
    pub(super) fn end(self) {
        if self.shown && self.seconds > 0 {
            output::say_over("");
        }
    }
}

fn line(seconds: u64, last: Counts, counts: Counts) -> String {
    let checks = counts.checks() - last.checks();
    let errors = counts.errors - last.errors;
    let mut parts = vec![
        format!("{seconds} s"),
        format!("{} checks/s", number(checks)),
    ];
    if checks > 0 {
        let allowed = percent(counts.allowed - last.allowed, checks);
        parts.push(format!("allowed {allowed}"));
    }
    if errors > 0 {
        parts.push(format!("errors {}", number(errors)));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_of_the_last_second_alone() {
        let counts = |allowed, denied, errors| Counts {
            allowed,
            denied,
            errors,
        };
        for (last, now, expected) in [
            (counts(0, 0, 0), counts(0, 0, 0), "3 s  0 checks/s"),
            (
                counts(0, 0, 0),
                counts(0, 0, 5),
                "3 s  0 checks/s  errors 5",
            ),
            (
                counts(1000, 0, 2),
                counts(2000, 1000, 2),
                "3 s  2,000 checks/s  allowed 50.0 %",
            ),
        ] {
            assert_eq!(line(3, last, now), expected);
        }
    }
}
