//! What is known of the cluster, and which places follow from it.
//!
//! Cold: taken up when routes come, a connection to a seed comes or goes, or a node says who else
//! owns a slot. What calls need of it is written to [`Core::slots`].

use std::sync::atomic::Ordering;

use super::core::Core;
use super::holders::Holders;
use super::place::Stage;
use super::route_cache::{BadRoutes, Holding, RouteCache};
use super::seats::{Move, SEEDS, Seats};
use super::seed::Seed;
use super::settings::Routing;
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::protocol::routes::ReplicaRoutes;
use crate::types::{NodeId, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct Known {
    cluster: u128,
    routes: RouteCache,
    seats: Seats,
}

impl Known {
    /// Nothing but the cluster's id; so many connections to seeds are to come.
    pub(super) fn new(cluster: u128, seeds: usize) -> Self {
        Self {
            cluster,
            routes: RouteCache::default(),
            seats: Seats::new(seeds),
        }
    }

    /// The place of each node that is known.
    fn places(&self) -> Vec<Option<usize>> {
        let nodes = self.routes.nodes().iter();
        nodes.map(|it| self.seats.place_of(it.node)).collect()
    }
}

fn holders_of(places: &[Option<usize>], holding: Holding) -> Holders {
    let place = |node: u16| places.get(usize::from(node)).copied().flatten();
    Holders::new(holding.map(|node| node.and_then(place)))
}

impl Core {
    /// The cluster whose routes are kept.
    pub(super) fn cluster(&self) -> u128 {
        self.known.lock().cluster
    }

    /// Connection `n` to a seed was made. If it leads to another cluster than before, all that was
    /// known is forgotten.
    pub(super) fn seed_connected(&self, n: usize, welcome: &Welcome) {
        let mut known = self.known.lock();
        let moved = known.cluster != welcome.cluster;
        if moved {
            tracing::warn!("the seeds lead to another cluster now");
            known.cluster = welcome.cluster;
            known.routes.forget();
            self.secret.set(&welcome.key_secret);
            self.denials.forget();
        }
        let home = known.seats.set_seed(n, Some(NodeId(welcome.node)));
        if moved || home {
            self.arrange(&mut known);
        }
    }

    /// Connection `n` to a seed was lost.
    pub(super) fn seed_lost(&self, n: usize) {
        let mut known = self.known.lock();
        if known.seats.set_seed(n, None) {
            self.arrange(&mut known);
        }
    }

    /// A node of `cluster` says who owns and holds what.
    pub(super) fn learn(&self, cluster: u128, routes: &ReplicaRoutes) -> Result<(), BadRoutes> {
        let mut known = self.known.lock();
        if known.cluster != cluster {
            return Ok(());
        }
        if known.routes.accept(routes)? {
            self.arrange(&mut known);
        }
        self.denials.set_policies(routes.policies);
        Ok(())
    }

    /// Nobody tells routes at present: the policy set may change unseen.
    pub(super) fn routes_lost(&self) {
        let _known = self.known.lock();
        self.denials.suspend();
    }

    /// Takes in what a node said that is not the owner; false if it said something else.
    pub(super) fn redirect(&self, error: &WireError) -> bool {
        let WireError::NotOwner { slot, epoch, owner } = *error else {
            return false;
        };
        let owner = NodeId(owner);
        let Some(slot) = Slot::new(slot) else {
            return true;
        };
        let mut known = self.known.lock();
        if known.routes.is_empty() || !known.routes.redirect(slot, epoch, owner) {
            return true;
        }
        if known.seats.place_of(owner).is_none() {
            self.arrange(&mut known);
        } else if let Some(told) = self.slots.get(slot.index()) {
            told.set(holders_of(&known.places(), known.routes.holding(slot)));
        }
        true
    }

    /// The links of a place have ended: another node may have it.
    pub(super) fn links_ended(&self, place: usize) {
        let mut known = self.known.lock();
        self.place(place).vacate();
        known.seats.vacate(place);
        self.arrange(&mut known);
    }

    /// Where the node of a place is reached.
    pub(super) fn address_of(&self, place: usize) -> Option<Seed> {
        let known = self.known.lock();
        known.seats.at(place).map(|seated| seated.address.clone())
    }

    /// Where all known nodes are reached, for when no seed answers.
    pub(super) fn addresses(&self) -> Vec<Seed> {
        let known = self.known.lock();
        let nodes = known.routes.nodes().iter();
        nodes.filter_map(|node| node.address.clone()).collect()
    }

    /// Gives places to nodes as the routes say, and tells the calls.
    fn arrange(&self, known: &mut Known) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        // A second round if a place is free at once.
        for _ in 0..2 {
            let moves = known.seats.arrange(known.routes.owning());
            let mut freed = false;
            for step in moves {
                match step {
                    Move::Open(place) => self.place(place).open(self.shape),
                    Move::Retire(place) => {
                        if self.place(place).retire() {
                            known.seats.vacate(place);
                            freed = true;
                        }
                    }
                }
            }
            if !freed {
                break;
            }
        }
        self.tell_calls(known);
        self.wanted.notify_one();
    }

    fn tell_calls(&self, known: &Known) {
        let mut places = known.places();
        if self.shape.routing == Routing::Others && !places.is_empty() {
            // The node behind the owner, by id, is another one if there is one.
            places.rotate_left(1);
        }
        for (slot, holding) in self.slots.iter().zip(known.routes.all_holding()) {
            slot.set(holders_of(&places, *holding));
        }
        let routed = !known.routes.is_empty();
        self.routed.store(routed, Ordering::Relaxed);
        let several = known.routes.nodes().len() > 1;
        self.spread.store(several, Ordering::Relaxed);
    }

    /// The places of nodes whose links are to run, or were to.
    pub(super) fn wanted_places(&self) -> impl Iterator<Item = (usize, Stage)> + '_ {
        let places = self.places.iter().enumerate();
        places
            .filter(|(n, _)| *n != SEEDS)
            .map(|(n, place)| (n, place.stage()))
            .filter(|(_, stage)| match stage {
                Stage::Wanted | Stage::Retiring => true,
                Stage::Vacant | Stage::Idle => false,
            })
    }
}
