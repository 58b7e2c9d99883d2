//! Effects and messages in the words of a trace.

use super::machine::node_of;
use super::world::MS;
use crate::ownership::event::Effect;
use crate::ownership::message::Message;
use crate::types::Slot;

fn numbers(slots: impl Iterator<Item = Slot>) -> String {
    let all: Vec<String> = slots.map(|slot| slot.to_string()).collect();
    all.join(",")
}

pub(super) fn brief(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, message } => {
            format!("send to {}: {}", node_of(*to), brief_message(message))
        }
        Effect::Persist { task, registers } => {
            let all = registers.iter().map(|(slot, it)| {
                let version = it.chosen.map_or(0, |chosen| chosen.version);
                let accepted = it.accepted.map(|(_, accepted)| node_of(accepted.owner));
                format!(
                    "{slot} (promised {}, version {version}, accepted {accepted:?})",
                    it.promised
                )
            });
            let all: Vec<String> = all.collect();
            format!("persist {}: {}", task.0, all.join(" "))
        }
        Effect::Freeze { task, slots } => format!("freeze {}: {slots:?}", task.0),
        Effect::PreCopy { task, from, slots } => {
            format!("pre-copy {} from {}: {slots:?}", task.0, node_of(*from))
        }
        Effect::Fetch {
            task, from, slots, ..
        } => {
            let slots = numbers(slots.iter().map(|it| it.0));
            format!("fetch {} from {}: {slots}", task.0, node_of(*from))
        }
        Effect::Install { task, epoch, slots } => {
            let slots = numbers(slots.iter().map(|it| it.slot));
            format!("install {} at {epoch}: {slots}", task.0)
        }
        Effect::Serve { slots } => format!("serve {}", numbers(slots.iter().map(|it| it.0))),
        Effect::CatchUp { task, from, slots } => {
            let slots = numbers(slots.iter().map(|it| it.0));
            format!("catch up {} from {}: {slots}", task.0, node_of(*from))
        }
        Effect::Become { task, epoch, slots } => {
            let slots = numbers(slots.iter().map(|it| it.0));
            format!("become {} {epoch}: {slots}", task.0)
        }
        Effect::Follow { slots } => format!("follow {slots:?}"),
        Effect::Drop { slots } => format!("drop {slots:?}"),
        Effect::Announce { records } => {
            let all = records.iter().map(|it| {
                let chosen = it.chosen;
                format!(
                    "{} is node {}'s since {}",
                    it.slot,
                    node_of(chosen.owner),
                    chosen.epoch
                )
            });
            all.collect::<Vec<_>>().join("; ")
        }
        Effect::WakeAt(at) => format!("wake at {} ms", at.as_ns() / MS),
    }
}

pub(super) fn brief_message(message: &Message) -> String {
    match message {
        Message::Seal { ballot, slots } => format!("Seal {ballot} {slots:?}"),
        Message::Sealed {
            ballot,
            slots,
            refused,
        } => {
            let slots = numbers(slots.iter().map(|it| it.slot));
            format!("Sealed {ballot} [{slots}], {} refused", refused.len())
        }
        Message::Accept { ballot, slots } => {
            let slots = numbers(slots.iter().map(|it| it.slot));
            format!("Accept {ballot} [{slots}]")
        }
        Message::Accepted {
            ballot,
            slots,
            refused,
        } => format!("Accepted {ballot} {slots:?}, {} refused", refused.len()),
        Message::Digest { .. } => "Digest".to_owned(),
        Message::Chosen { records } => {
            format!("Chosen [{}]", numbers(records.iter().map(|it| it.slot)))
        }
        Message::Become { ballot, slots } => {
            let slots = numbers(slots.iter().map(|it| it.slot));
            format!("Become {ballot} [{slots}]")
        }
        Message::Became {
            ballot,
            slots,
            refused,
        } => format!("Became {ballot} {slots:?}, {} refused", refused.len()),
        Message::AskHeard { owner } => format!("AskHeard {}", node_of(*owner)),
        Message::Heard { owner, lately } => format!("Heard {} lately: {lately}", node_of(*owner)),
    }
}
