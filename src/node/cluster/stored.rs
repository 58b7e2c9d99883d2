//! What the node's store says of its part in the cluster when it starts: its registers, the roster, what
//! the operator wants, and which policies are in force.

use super::members::ROSTER;
use super::targets::CLUSTER_SETTINGS;
use crate::limiter::policy::PolicySet;
use crate::membership::cluster_settings::ClusterSettings;
use crate::membership::roster::{Roster, Standing};
use crate::node::engine::Engine;
use crate::node::error::StartError;
use crate::node::policy_sets::rule::{Peers, PolicyEffect, PolicySets};
use crate::node::policy_sets::versioned::{META_NAME, VersionedSet};
use crate::ownership::Ownership;
use crate::ownership::record::Register;
use crate::protocol::peer::PeerRefusal;
use crate::types::{NodeId, SLOT_COUNT, Slot};

/// The name of a node's file of policies where only the set is known.
const POLICY_FILE: &str = "the policies";

/// What a node's policy file says, or why it cannot be used.
pub(crate) type PolicyText<'a> = Result<&'a PolicySet, &'a str>;

/// The registers as stored; those of a founder if it has none yet, which are then stored.
pub(super) fn registers(engine: &Engine) -> Result<Vec<Option<Register>>, StartError> {
    let stored = &engine.found_registers;
    if stored.is_empty() && engine.about.founder {
        let founding = Ownership::founding(engine.about.node);
        let encoded: Vec<_> = Slot::all()
            .zip(&founding)
            .filter_map(|(slot, register)| Some((slot, register.as_ref()?.encode())))
            .collect();
        engine.store.put_registers(&encoded)?;
        return Ok(founding);
    }
    let mut registers = vec![None; usize::from(SLOT_COUNT)];
    for (slot, bytes) in stored {
        let register = Register::decode(bytes).map_err(|_damaged| StartError::Damaged {
            what: format!("the register of slot {slot}"),
        })?;
        if let Some(place) = registers.get_mut(slot.index()) {
            *place = Some(register);
        }
    }
    note_incomplete(engine, &mut registers)?;
    Ok(registers)
}

/// R5: what may have lost counts, and others hold too, counts for nothing from now on; that is synced
/// before anything else is done.
fn note_incomplete(engine: &Engine, registers: &mut [Option<Register>]) -> Result<(), StartError> {
    let mut told = Vec::new();
    for slot in engine.incomplete.iter() {
        if let Some(Some(register)) = registers.get_mut(slot.index()) {
            register.complete = false;
            told.push((slot, register.encode()));
        }
    }
    if !told.is_empty() {
        engine.store.put_registers(&told)?;
    }
    let stored = engine.incomplete_is_stored();
    stored.map_err(|error| StartError::Storage(Box::new(error)))
}

/// What the operator wants of the cluster, as stored; of one that is created, what this node is told.
pub(super) fn cluster_settings(
    engine: &Engine,
    replicas: u8,
) -> Result<ClusterSettings, StartError> {
    if let Some(bytes) = engine.store.meta(CLUSTER_SETTINGS)? {
        return ClusterSettings::from_bytes(&bytes).ok_or_else(|| StartError::Damaged {
            what: "the cluster's settings".to_owned(),
        });
    }
    if !engine.about.founder {
        return Ok(ClusterSettings::default());
    }
    // A cluster of an earlier version of the software has one.
    let created = engine.found_registers.is_empty();
    let replicas = if created { replicas } else { 1 };
    let settings = ClusterSettings::new(1, replicas);
    let settings = settings.map_err(|_bad| StartError::BadReplicas { replicas })?;
    engine
        .store
        .put_meta(CLUSTER_SETTINGS, &settings.to_bytes())?;
    Ok(settings)
}

/// The roster as stored.
pub(super) fn roster(engine: &Engine) -> Result<Roster, StartError> {
    let Some(bytes) = engine.store.meta(ROSTER)? else {
        return Ok(Roster::default());
    };
    Roster::from_bytes(&bytes).ok_or_else(|| StartError::Damaged {
        what: "the roster".to_owned(),
    })
}

/// Refuses a node that has learned, in an earlier life, that it was removed.
pub(super) fn may_take_part(roster: &Roster, me: NodeId) -> Result<(), StartError> {
    let mut entries = roster.entries();
    if entries.any(|it| it.node == me && it.standing == Standing::Removed) {
        let reason = PeerRefusal::Removed { node: me.0 }.to_string();
        return Err(StartError::ShutOut { reason });
    }
    Ok(())
}

/// Which policies are in force, and what is to be done about it first.
pub(super) fn policies(
    engine: &Engine,
    roster: &Roster,
    file: PolicyText<'_>,
) -> Result<(PolicySets, Vec<PolicyEffect>), StartError> {
    let stored = engine.store.meta(META_NAME)?;
    let stored = stored.map(|bytes| VersionedSet::decode(&bytes)).transpose();
    let stored = stored.map_err(|error| StartError::Policies(Box::new(error)))?;
    let me = engine.about.node;
    let others = roster.entries().any(|entry| {
        entry.node != me && matches!(entry.standing, Standing::Active | Standing::Draining)
    });
    // A node that has just joined knows of no other yet.
    let peers = if others || (!engine.about.founder && stored.is_none()) {
        Peers::Several
    } else {
        Peers::Alone
    };
    match (file, stored) {
        (Ok(file), stored) => Ok(PolicySets::start(peers, stored, set_of(file)?)),
        (Err(why), Some(stored)) => Ok(PolicySets::start_without_file(peers, stored, why.into())),
        (Err(_), None) => Err(StartError::NoStoredPolicies),
    }
}

/// A set as a file of its own.
pub(crate) fn set_of(file: &PolicySet) -> Result<VersionedSet, StartError> {
    let text = crate::config::render_policies(file);
    let set = VersionedSet::parse(0, POLICY_FILE, &text);
    set.map_err(|error| StartError::Policies(Box::new(error)))
}
