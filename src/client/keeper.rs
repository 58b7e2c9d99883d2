//! Starts the links to nodes that are asked for the first time, and frees the places of those whose
//! links have ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use quinn::ClientConfig;
use tokio::task::JoinSet;

use super::core::Core;
use super::dial::{Dialer, Greeting};
use super::link::Link;
use super::place::Stage;

/// The links that run, by place.
struct Keeper {
    core: Arc<Core>,
    config: ClientConfig,
    links: JoinSet<usize>,
    running: BTreeMap<usize, usize>,
}

/// Keeps the links of all places but the seeds', for ever; they end with it.
pub(super) async fn keep_links(core: Arc<Core>, config: ClientConfig) {
    let mut keeper = Keeper {
        core: Arc::clone(&core),
        config,
        links: JoinSet::new(),
        running: BTreeMap::new(),
    };
    loop {
        keeper.start_wanted();
        tokio::select! {
            // Both arms are cancel safe.
            () = core.wanted.notified() => {}
            Some(ended) = keeper.links.join_next() => match ended {
                Ok(place) => keeper.ended(place),
                Err(error) => {
                    tracing::error!(%error, "a connection's task has failed; the client ends");
                    return;
                }
            }
        }
    }
}

impl Keeper {
    fn start_wanted(&mut self) {
        let core = Arc::clone(&self.core);
        for (place, stage) in core.wanted_places() {
            if self.running.contains_key(&place) {
                continue;
            }
            let address = match stage {
                Stage::Wanted => core.address_of(place),
                Stage::Retiring | Stage::Vacant | Stage::Idle => None,
            };
            let Some(address) = address else {
                core.links_ended(place);
                continue;
            };
            let dialer = Arc::new(Dialer {
                seeds: vec![address],
                config: self.config.clone(),
                greeting: Greeting::of_client(),
                from: None,
            });
            for n in 0..core.shape.connections {
                let link = Link::new(Arc::clone(&core), Arc::clone(&dialer), place, n);
                self.links.spawn(async move {
                    link.run(None).await;
                    place
                });
            }
            self.running.insert(place, core.shape.connections);
        }
    }

    fn ended(&mut self, place: usize) {
        let Some(links) = self.running.get_mut(&place) else {
            return;
        };
        *links = links.saturating_sub(1);
        if *links == 0 {
            self.running.remove(&place);
            self.core.links_ended(place);
        }
    }
}
