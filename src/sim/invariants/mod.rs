//! What must hold at every moment of a run: one property a file, each tested with a history that
//! breaks it. I1 to I6 are those of the replication protocol.
//!
//! I2 and I3 are both in [`remembered`].

mod answers;
mod choice;
mod contents;
mod denials;
mod owners;
mod registers;
mod remembered;
mod slot_clock;
mod window;

use super::judge::Fact;
use super::ledger::Ledger;

/// One property of every run.
pub(super) trait Invariant: std::fmt::Debug {
    /// What it is called in reports.
    fn name(&self) -> &'static str;

    /// Looks at a fact, which the ledger knows already.
    ///
    /// # Errors
    /// Says in words what is wrong.
    fn see(&mut self, ledger: &Ledger, now_ns: u64, fact: &Fact<'_>) -> Result<(), String>;
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(window::Window),
        Box::new(remembered::Remembered::default()),
        Box::new(choice::OneChoice::default()),
        Box::new(registers::RegistersRise::default()),
        Box::new(contents::OneContent::default()),
        Box::new(slot_clock::SlotClocks::default()),
        Box::new(owners::OneOwner::default()),
        Box::new(answers::Answers::default()),
        Box::new(denials::Denials::default()),
    ]
}

#[cfg(test)]
mod histories;
