//! Turns what nodes say to each other into what the rooms understand, and back.
//!
//! From the wire comes only what can be: anything else is an error, and nothing of its frame counts.

use crate::membership::identity::Address;
use crate::membership::roster::{RosterEntry, Standing};
use crate::ownership::message::{Becoming, Message, Proposal, Refused, SealedSlot};
use crate::protocol::ownership::{
    BadWire, WireBecoming, WireConfiguration, WireMessage, WireProposal, WireRecord, WireRefused,
    WireSealed, slot,
};
use crate::protocol::peer::{PeerFrame, ROSTER_ENTRIES_MAX, WireNode, WireStanding};
use crate::types::{BootCounter, Configuration, NodeId, SlotRecord, SlotTime};

/// The frames that tell a message: one, or several if it is long.
pub(crate) fn ownership_frames(message: &Message) -> Vec<PeerFrame> {
    let parts = to_wire(message).split().into_iter();
    parts.map(PeerFrame::Ownership).collect()
}

/// The frames that tell nodes of the roster; none if there are none.
pub(crate) fn roster_frames<'a>(
    entries: impl IntoIterator<Item = &'a RosterEntry>,
) -> Vec<PeerFrame> {
    let nodes: Vec<WireNode> = entries.into_iter().map(node_to_wire).collect();
    let parts = nodes.chunks(ROSTER_ENTRIES_MAX);
    parts.map(|part| PeerFrame::Roster(part.to_vec())).collect()
}

fn to_wire(message: &Message) -> WireMessage {
    match message {
        Message::Seal { ballot, slots } => WireMessage::Seal {
            ballot: (*ballot).into(),
            slots: slots.into(),
        },
        Message::Sealed {
            ballot,
            slots,
            refused,
        } => WireMessage::Sealed {
            ballot: (*ballot).into(),
            slots: slots.iter().map(sealed_to_wire).collect(),
            refused: refused.iter().map(refused_to_wire).collect(),
        },
        Message::Accept { ballot, slots } => WireMessage::Accept {
            ballot: (*ballot).into(),
            slots: slots.iter().map(proposal_to_wire).collect(),
        },
        Message::Accepted {
            ballot,
            slots,
            refused,
        } => WireMessage::Accepted {
            ballot: (*ballot).into(),
            slots: slots.into(),
            refused: refused.iter().map(refused_to_wire).collect(),
        },
        Message::Digest { groups } => WireMessage::Digest {
            groups: groups.clone(),
        },
        Message::Chosen { records } => WireMessage::Chosen {
            records: records.iter().map(record_to_wire).collect(),
        },
        Message::Become { ballot, slots } => WireMessage::Become {
            ballot: (*ballot).into(),
            slots: slots.iter().map(becoming_to_wire).collect(),
        },
        Message::Became {
            ballot,
            slots,
            refused,
        } => WireMessage::Became {
            ballot: (*ballot).into(),
            slots: slots.into(),
            refused: refused.into(),
        },
        Message::AskHeard { owner } => WireMessage::AskHeard { owner: owner.0 },
        Message::Heard { owner, lately } => WireMessage::Heard {
            owner: owner.0,
            lately: *lately,
        },
    }
}

/// A message from the wire.
///
/// # Errors
/// [`BadWire`]; the whole frame is to be refused.
pub(crate) fn ownership_message(wire: &WireMessage) -> Result<Message, BadWire> {
    Ok(match wire {
        WireMessage::Seal { ballot, slots } => Message::Seal {
            ballot: (*ballot).into(),
            slots: slots.into(),
        },
        WireMessage::Sealed {
            ballot,
            slots,
            refused,
        } => Message::Sealed {
            ballot: (*ballot).into(),
            slots: all(slots, sealed)?,
            refused: all(refused, refused_slot)?,
        },
        WireMessage::Accept { ballot, slots } => Message::Accept {
            ballot: (*ballot).into(),
            slots: all(slots, proposal)?,
        },
        WireMessage::Accepted {
            ballot,
            slots,
            refused,
        } => Message::Accepted {
            ballot: (*ballot).into(),
            slots: slots.into(),
            refused: all(refused, refused_slot)?,
        },
        WireMessage::Digest { groups } => Message::Digest {
            groups: groups.clone(),
        },
        WireMessage::Chosen { records } => Message::Chosen {
            records: all(records, record)?,
        },
        WireMessage::Become { ballot, slots } => Message::Become {
            ballot: (*ballot).into(),
            slots: all(slots, becoming)?,
        },
        WireMessage::Became {
            ballot,
            slots,
            refused,
        } => Message::Became {
            ballot: (*ballot).into(),
            slots: slots.into(),
            refused: refused.into(),
        },
        WireMessage::AskHeard { owner } => Message::AskHeard {
            owner: NodeId(*owner),
        },
        WireMessage::Heard { owner, lately } => Message::Heard {
            owner: NodeId(*owner),
            lately: *lately,
        },
    })
}

fn all<W, T>(list: &[W], one: impl Fn(&W) -> Result<T, BadWire>) -> Result<Vec<T>, BadWire> {
    list.iter().map(one).collect()
}

fn sealed_to_wire(sealed: &SealedSlot) -> WireSealed {
    let accepted = sealed.accepted.as_ref();
    WireSealed {
        slot: sealed.slot.number(),
        chosen: sealed.chosen.as_ref().map(Into::into),
        accepted: accepted.map(|(ballot, it)| ((*ballot).into(), it.into())),
        at: sealed.at.into(),
        clock_ms: sealed.clock.as_ms(),
        complete: sealed.complete,
    }
}

fn sealed(wire: &WireSealed) -> Result<SealedSlot, BadWire> {
    let accepted = match &wire.accepted {
        Some((ballot, it)) => Some(((*ballot).into(), it.try_into()?)),
        None => None,
    };
    Ok(SealedSlot {
        slot: slot(wire.slot)?,
        chosen: configuration(wire.chosen.as_ref())?,
        accepted,
        at: wire.at.into(),
        clock: SlotTime::from_ms(wire.clock_ms),
        complete: wire.complete,
    })
}

fn refused_to_wire(refused: &Refused) -> WireRefused {
    WireRefused {
        slot: refused.slot.number(),
        promised: refused.promised.into(),
        chosen: refused.chosen.as_ref().map(Into::into),
    }
}

fn refused_slot(wire: &WireRefused) -> Result<Refused, BadWire> {
    Ok(Refused {
        slot: slot(wire.slot)?,
        promised: wire.promised.into(),
        chosen: configuration(wire.chosen.as_ref())?,
    })
}

fn proposal_to_wire(proposal: &Proposal) -> WireProposal {
    WireProposal {
        slot: proposal.slot.number(),
        base: (&proposal.base).into(),
        proposed: (&proposal.proposed).into(),
    }
}

fn proposal(wire: &WireProposal) -> Result<Proposal, BadWire> {
    Ok(Proposal {
        slot: slot(wire.slot)?,
        base: (&wire.base).try_into()?,
        proposed: (&wire.proposed).try_into()?,
    })
}

fn record_to_wire(record: &SlotRecord) -> WireRecord {
    WireRecord {
        slot: record.slot.number(),
        chosen: (&record.chosen).into(),
    }
}

fn record(wire: &WireRecord) -> Result<SlotRecord, BadWire> {
    Ok(SlotRecord {
        slot: slot(wire.slot)?,
        chosen: (&wire.chosen).try_into()?,
    })
}

fn becoming_to_wire(becoming: &Becoming) -> WireBecoming {
    WireBecoming {
        slot: becoming.slot.number(),
        at: becoming.at.into(),
        clock_ms: becoming.clock.as_ms(),
    }
}

fn becoming(wire: &WireBecoming) -> Result<Becoming, BadWire> {
    Ok(Becoming {
        slot: slot(wire.slot)?,
        at: wire.at.into(),
        clock: SlotTime::from_ms(wire.clock_ms),
    })
}

fn configuration(wire: Option<&WireConfiguration>) -> Result<Option<Configuration>, BadWire> {
    wire.map(Configuration::try_from).transpose()
}

fn node_to_wire(entry: &RosterEntry) -> WireNode {
    let addresses = entry.addresses.iter();
    WireNode {
        node: entry.node.0,
        boot: entry.boot.0,
        revision: entry.revision,
        standing: match entry.standing {
            Standing::Active => WireStanding::Active,
            Standing::Draining => WireStanding::Draining,
            Standing::Left => WireStanding::Left,
            Standing::Removed => WireStanding::Removed,
        },
        weight: entry.weight,
        policies: entry.policies,
        addresses: addresses.map(|it| it.as_str().to_owned()).collect(),
        certificate: entry.certificate.clone(),
        zone: entry.zone.clone(),
    }
}

/// A node of the roster from the wire.
///
/// # Errors
/// [`BadWire::Node`].
pub(crate) fn roster_entry(wire: &WireNode) -> Result<RosterEntry, BadWire> {
    let addresses = wire.addresses.iter().map(|text| Address::new(text));
    let entry = RosterEntry {
        node: NodeId(wire.node),
        boot: BootCounter(wire.boot),
        revision: wire.revision,
        standing: match wire.standing {
            WireStanding::Active => Standing::Active,
            WireStanding::Draining => Standing::Draining,
            WireStanding::Left => Standing::Left,
            WireStanding::Removed => Standing::Removed,
        },
        weight: wire.weight,
        policies: wire.policies,
        addresses: addresses.collect::<Option<_>>().ok_or(BadWire::Node)?,
        certificate: wire.certificate.clone(),
        zone: wire.zone.clone(),
    };
    if entry.is_sound() {
        Ok(entry)
    } else {
        Err(BadWire::Node)
    }
}

#[cfg(test)]
mod tests;
