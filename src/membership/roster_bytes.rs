//! The bytes of a roster, as it is stored. All integers are little-endian.
//!
//! ```text
//! roster = version (1) entries (2), then each, by node id:
//!          node (16) boot (8) revision (8) standing (1) weight (4) policies (8)
//!          addresses (1), then each: length (2) text
//!          certificate: length (2) text    zone: length (2) text
//! standing: 0 active, 1 draining, 2 left, 3 removed
//! ```
//!
//! Storage adds a checksum to what it keeps.

use super::identity::Address;
use super::roster::{ADDRESSES_MAX, NODES_MAX, RosterEntry, Standing};
use crate::types::{BootCounter, NodeId};

const VERSION: u8 = 1;

/// The bytes of these entries.
pub(super) fn encode<'a>(entries: impl ExactSizeIterator<Item = &'a RosterEntry>) -> Vec<u8> {
    let mut out = vec![VERSION];
    // At most `NODES_MAX`, which fits.
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for entry in entries {
        out.extend_from_slice(&entry.node.0.to_le_bytes());
        out.extend_from_slice(&entry.boot.0.to_le_bytes());
        out.extend_from_slice(&entry.revision.to_le_bytes());
        out.push(match entry.standing {
            Standing::Active => 0,
            Standing::Draining => 1,
            Standing::Left => 2,
            Standing::Removed => 3,
            Standing::Stopping => 4,
        });
        out.extend_from_slice(&entry.weight.to_le_bytes());
        out.extend_from_slice(&entry.policies.to_le_bytes());
        out.push(u8::try_from(entry.addresses.len()).unwrap_or(u8::MAX));
        for address in &entry.addresses {
            put_text(&mut out, address.as_str());
        }
        put_text(&mut out, &entry.certificate);
        put_text(&mut out, &entry.zone);
    }
    out
}

/// The entries; `None` if the bytes are not exactly those of a list.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<RosterEntry>> {
    let mut rest = bytes;
    if take::<1>(&mut rest)? != [VERSION] {
        return None;
    }
    let count = usize::from(u16::from_le_bytes(take(&mut rest)?));
    if count > NODES_MAX {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(take_entry(&mut rest)?);
    }
    rest.is_empty().then_some(entries)
}

fn take_entry(rest: &mut &[u8]) -> Option<RosterEntry> {
    let node = NodeId(u128::from_le_bytes(take(rest)?));
    let boot = BootCounter(u64::from_le_bytes(take(rest)?));
    let revision = u64::from_le_bytes(take(rest)?);
    let standing = match take::<1>(rest)? {
        [0] => Standing::Active,
        [1] => Standing::Draining,
        [2] => Standing::Left,
        [3] => Standing::Removed,
        [4] => Standing::Stopping,
        [_] => return None,
    };
    let weight = u32::from_le_bytes(take(rest)?);
    let policies = u64::from_le_bytes(take(rest)?);
    let [addresses] = take::<1>(rest)?;
    if usize::from(addresses) > ADDRESSES_MAX {
        return None;
    }
    let addresses = (0..addresses).map(|_| Address::new(take_text(rest)?));
    Some(RosterEntry {
        node,
        boot,
        revision,
        standing,
        weight,
        policies,
        addresses: addresses.collect::<Option<_>>()?,
        certificate: take_text(rest)?.to_owned(),
        zone: take_text(rest)?.to_owned(),
    })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Sound entries hold no longer ones.
    let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let bytes = usize::from(u16::from_le_bytes(take(rest)?));
    let (text, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}
