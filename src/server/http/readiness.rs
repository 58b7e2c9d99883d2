//! Whether the node should be asked, told to those who watch it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::edge::Edge;
use crate::server::Service;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What is told of it, looked at again and again until the node stops. Runs on the caller's runtime.
pub(super) fn told<S: Service>(edge: Edge<S>) -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(true);
    tokio::spawn(async move {
        let mut stop = std::pin::pin!(edge.stopping.begun());
        loop {
            let ready = edge.unready().await.is_empty();
            tell.send_if_modified(|before| std::mem::replace(before, ready) != ready);
            tokio::select! {
                // Both arms are cancel safe.
                () = stop.as_mut() => break,
                () = sleep(PERIOD) => {}
            }
        }
        tell.send_replace(false);
    });
    told
}
