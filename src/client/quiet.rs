//! Notices that a node is dead by its packets. A node that lives acknowledges at once, whatever its
//! answer waits for; QUIC itself takes up to half a minute to notice that one was killed. A node that
//! owes an answer and says nothing is given something to acknowledge, again and again.

use std::time::Duration;

use quinn::Connection;

use crate::transport::endpoint::probe;

/// Why a connection to such a node is given up.
pub(super) const QUIET: &str = "the node acknowledges nothing";

/// After so long without a packet from a node that owes an answer, it is taken for dead.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Looks in that time.
pub(super) const LOOKS: u32 = 4;

/// Waits until the node has sent nothing for long, not even acknowledgements, although it owes an
/// answer. Cancel safe.
pub(super) async fn quiet(connection: &Connection, owes: impl Fn() -> bool) {
    let packets = || connection.stats().udp_rx.datagrams;
    let (mut heard, mut looks) = (packets(), 0_u32);
    while looks < LOOKS {
        tokio::time::sleep(QUIET_MAX / LOOKS).await;
        let now = packets();
        looks = if now == heard && owes() {
            looks.saturating_add(1)
        } else {
            0
        };
        heard = now;
        if looks > 0 {
            probe(connection);
        }
    }
}
