//! How far commits are kept, as numbers of commits, in each of the two ways to keep one.

/// How a commit is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// It is appended to the journals.
    Appended,
    /// It is synced there.
    Synced,
}

/// Up to which commit all are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// Up to here they are appended.
    pub(crate) appended: u64,
    /// Up to here they are synced; never above `appended`.
    pub(crate) synced: u64,
}

impl Marks {
    /// Above all commits.
    pub(super) const ALL: Self = Self::both(u64::MAX);

    /// The same for both.
    pub(super) const fn both(number: u64) -> Self {
        Self {
            appended: number,
            synced: number,
        }
    }

    /// The mark of a goal.
    pub(crate) const fn of(self, goal: Goal) -> u64 {
        match goal {
            Goal::Appended => self.appended,
            Goal::Synced => self.synced,
        }
    }

    /// The lower of each.
    #[must_use]
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            appended: self.appended.min(other.appended),
            synced: self.synced.min(other.synced),
        }
    }

    /// The higher of each.
    #[must_use]
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            appended: self.appended.max(other.appended),
            synced: self.synced.max(other.synced),
        }
    }

    /// These marks where `number` is above them, else no bound.
    #[must_use]
    pub(super) const fn holding_back(self, number: u64) -> Self {
        let all = Self::ALL;
        Self {
            appended: if number > self.appended {
                self.appended
            } else {
                all.appended
            },
            synced: if number > self.synced {
                self.synced
            } else {
                all.synced
            },
        }
    }
}
