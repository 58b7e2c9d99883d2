//! Notices that nothing comes from the other end of a connection any more, long before QUIC does.

use std::time::Duration;

use quinn::Connection;

/// Waits until no packet has come in so many looks in a row, one each `every`: not even an
/// acknowledgement. Before each look `say` is to have something sent that is to be acknowledged, unless
/// something is sent anyhow. Cancel safe.
pub(crate) async fn silent(
    connection: &Connection,
    (every, looks): (Duration, u32),
    say: impl Fn(&Connection),
) {
    let packets = || connection.stats().udp_rx.datagrams;
    let (mut heard, mut in_silence) = (packets(), 0_u32);
    while in_silence < looks {
        say(connection);
        tokio::time::sleep(every).await;
        let now = packets();
        in_silence = if now == heard {
            in_silence.saturating_add(1)
        } else {
            0
        };
        heard = now;
    }
}
