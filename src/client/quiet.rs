//! Notices that a node is silent, and then that it is dead, by its packets. A node that lives
//! acknowledges at once, whatever its answer waits for; QUIC itself takes up to half a minute to
//! notice that one was killed.
//!
//! Silent is a node from which nothing comes though packets are sent to it. One that has acknowledged
//! everything and takes long to answer is given something to acknowledge, again and again.

use std::time::Duration;

use quinn::Connection;

use crate::transport::endpoint::probe;

/// Why a connection to such a node is given up.
pub(super) const QUIET: &str = "the node acknowledges nothing";

/// After so long without a packet from a node that owes an answer, it is taken for dead.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Looks in that time.
pub(super) const LOOKS: u32 = 10;

/// After so many looks, half a second, others are rather asked. No slot is taken over before that, and
/// a node that only stands still for a moment is better waited for than asked in a roundabout way.
const LOOKS_SUSPECT: u32 = 5;

/// Packets that need not mean that one is owed: the last acknowledgement of ours is not acknowledged.
const OWED_NOTHING: u64 = 1;

/// Waits until the node has sent nothing for long, not even acknowledgements, although it owes an
/// answer; meanwhile tells when it falls silent and when it is heard again. Cancel safe.
pub(super) async fn quiet(connection: &Connection, owes: impl Fn() -> bool, tell: impl Fn(bool)) {
    let mut ear = Ear::default();
    while ear.silent < LOOKS {
        tokio::time::sleep(QUIET_MAX / LOOKS).await;
        let stats = connection.stats();
        let was_suspect = ear.is_suspect();
        let (heard, said) = (stats.udp_rx.datagrams, stats.udp_tx.datagrams);
        if ear.look(heard, said, &owes) {
            probe(connection);
        }
        if ear.is_suspect() != was_suspect {
            tell(ear.is_suspect());
        }
    }
}

/// What was heard of a node, look by look.
#[derive(Debug, Default)]
struct Ear {
    /// Packets from it.
    heard: u64,
    /// Packets to it, when something was last heard.
    said: u64,
    /// Looks in a row at which it was silent.
    silent: u32,
}

impl Ear {
    /// So many packets have come from the node and went to it by now. Whether it owes an answer and has
    /// said nothing since the last look.
    fn look(&mut self, heard: u64, said: u64, owes: impl Fn() -> bool) -> bool {
        if heard != self.heard || !owes() {
            (self.heard, self.said, self.silent) = (heard, said, 0);
            return false;
        }
        if said.saturating_sub(self.said) > OWED_NOTHING {
            self.silent = self.silent.saturating_add(1);
        }
        true
    }

    const fn is_suspect(&self) -> bool {
        self.silent >= LOOKS_SUSPECT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_is_who_sends_nothing_though_it_is_spoken_to_and_owes_an_answer() {
        let mut ear = Ear::default();
        // Packets heard and said, whether an answer is owed, and looks in silence since.
        for (heard, said, owes, silent) in [
            (5, 5, true, 0),
            // Answers slowly: all that was sent is acknowledged.
            (6, 7, true, 0),
            (6, 8, true, 0),
            (6, 8, true, 0),
            // Dead: probes get no answer.
            (6, 9, true, 1),
            (6, 9, true, 2),
            (6, 11, true, 3),
            (6, 11, true, 4),
            (6, 11, true, 5),
            (6, 12, true, 6),
            (7, 12, true, 0),
            // Idle: nobody waits for it.
            (7, 20, false, 0),
            (7, 21, true, 0),
            (7, 22, true, 1),
        ] {
            ear.look(heard, said, || owes);
            assert_eq!(ear.silent, silent, "{heard} {said} {owes}");
            assert_eq!(ear.is_suspect(), silent >= 5);
        }
    }
}
