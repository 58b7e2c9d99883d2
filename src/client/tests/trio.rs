//! Three nodes that hold all slots: an owner of nearly all, and two replicas of which the second is the seed.

use std::sync::Arc;

use super::toy::{Frame, Peer, Toy, Watch, granted, routes};
use crate::client::{Builder, Client};
use crate::protocol::routes::ReplicaRoutes;
use crate::transport::certs::Authority;
use crate::transport::tls::ClientAuth;

/// A key whose owner is asked all the time.
pub(super) const KEY: &str = "user-7";

/// See the module.
pub(super) struct Trio {
    pub(super) client: Client,
    pub(super) owner: Peer,
    pub(super) next: Peer,
    pub(super) seed: Peer,
    /// The owner, the next to take over, the seed.
    pub(super) toys: [Toy; 3],
    _watch: Watch,
}

pub(super) fn toys() -> [Toy; 3] {
    let authority = Arc::new(Authority::create("test").unwrap());
    [1, 2, 3].map(|node| Toy::of(node, Arc::clone(&authority), ClientAuth::Required))
}

/// The routes by which the first of these owns all slots but two, and the others hold them; each of
/// these owns one of the two.
pub(super) fn held_by(tag: u64, toys: [&Toy; 3]) -> ReplicaRoutes {
    let mut routes = ReplicaRoutes::from(routes(tag, &toys));
    routes.sets = vec![[0, 1, 2], [1, 2, 0], [2, 0, 1]];
    routes.runs = vec![(4094, 0), (1, 1), (1, 2)];
    routes
}

impl Trio {
    /// The client is connected to all of them.
    pub(super) async fn start(change: impl FnOnce(Builder) -> Builder) -> Self {
        let toys = toys();
        let [first, second, third] = &toys;
        let builder = change(third.client());
        let (client, seed) = tokio::join!(builder.connect(), third.greet_newer());
        let client = client.unwrap();
        let mut watch = seed.watch().await;
        watch
            .tell_replicas(1, &held_by(5, [first, second, third]))
            .await;
        let mut seed = seed;
        // Nobody waits for new links; meanwhile the seed is asked.
        let call = async { client.check("api", KEY).await.unwrap() };
        let script = async {
            grant(&mut seed).await;
            (first.greet_newer().await, second.greet_newer().await)
        };
        let (_, (owner, next)) = tokio::join!(call, script);
        let mut trio = Self {
            client,
            owner,
            next,
            seed,
            toys,
            _watch: watch,
        };
        trio.settle().await;
        trio
    }

    /// Asks until the owner is asked, and the replica's link is up too.
    async fn settle(&mut self) {
        loop {
            let Self {
                client,
                owner,
                next,
                seed,
                ..
            } = self;
            let call = async { client.check("api", KEY).await.unwrap().remaining };
            let script = async {
                tokio::select! {
                    frame = owner.frame() => owner.decide(&frame, |_| Ok(granted(1))).await,
                    frame = next.frame() => next.decide(&frame, |_| Ok(granted(2))).await,
                    frame = seed.frame() => seed.decide(&frame, |_| Ok(granted(3))).await,
                }
            };
            let by_owner = tokio::join!(call, script).0 == 1;
            let core = self.client.core();
            let up = core.places.iter().filter(|place| place.is_up()).count();
            if by_owner && up == 3 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Grants the next frame, and says what it was.
pub(super) async fn grant(peer: &mut Peer) -> Frame {
    let frame = peer.frame().await;
    peer.decide(&frame, |_| Ok(granted(1))).await;
    frame
}
