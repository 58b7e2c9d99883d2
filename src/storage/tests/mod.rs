//! What storage promises, shown: over both stores, under every schedule, and on damaged disks.

mod conformance;
mod damage;
mod directory;
mod group_commit;
mod mending;
mod opening;
mod recovering;
mod replacing;
mod replicated;
mod schedules;
mod slots;
