//! Heads of frames in RocksDB's log files that it would mistake in silence, or for ever.
//!
//! Two kinds of damage to the few bytes before a record are not told by RocksDB (seen with 11.8):
//!
//! - A *recyclable* type in a log that began with another: its reader never leaves such a frame. If
//!   it is the first one, the whole log is dropped as an old one. We never recycle logs, so such a
//!   type is always damage. It is replaced by the plain one that a flipped bit may have come from;
//!   then the checksum either holds again, or the damage is found like any other.
//! - A length that reaches beyond the end: in the last block that is taken for a torn tail, and the
//!   rest of a log, or of a manifest, is dropped. If the checksum holds for another length, that
//!   one is put back; if it holds for none, the tail is indeed torn.
//!
//! A log is a row of blocks of 32 KiB; a block is a row of frames, each a masked crc32c over type
//! and content (u32 LE), the content's length (u16 LE), a type (u8) and the content; fewer than 7
//! bytes at the end of a block are filler.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 * 1024;
const HEAD_BYTES: usize = 7;
const LENGTH_AT: usize = 4;
const TYPE_AT: usize = 6;
/// The types of frames that are whole records.
const FULL: u8 = 1;

/// Bytes that must be replaced before RocksDB may read the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Patch {
    at: u64,
    bytes: Vec<u8>,
}

/// The log files and manifests among the files of a database, and what is to be replaced in each;
/// files that are fine are left out.
///
/// # Errors
/// The system's, for reading.
pub(super) fn damaged_files(db: &Path) -> io::Result<Vec<(PathBuf, Vec<Patch>)>> {
    let mut damaged = Vec::new();
    for entry in std::fs::read_dir(db)? {
        let path = entry?.path();
        if is_log(&path) || is_manifest(&path) {
            let patches = patches(&mut File::open(&path)?)?;
            if !patches.is_empty() {
                damaged.push((path, patches));
            }
        }
    }
    damaged.sort();
    Ok(damaged)
}

/// Replaces the bytes in a file, synced.
///
/// # Errors
/// The system's.
pub(super) fn patch(path: &Path, patches: &[Patch]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    for patch in patches {
        file.write_all_at(&patch.bytes, patch.at)?;
    }
    file.sync_all()
}

/// Whether the name is that of a write-ahead log.
pub(super) fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b"MANIFEST-")
}

fn patches(file: &mut impl Read) -> io::Result<Vec<Patch>> {
    let mut patches = Vec::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut begin: u64 = 0;
    loop {
        block.clear();
        let read = file
            .by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)?;
        if read == 0 {
            return Ok(patches);
        }
        patches_in(&block, begin, &mut patches);
        begin += read as u64;
    }
}

fn patches_in(block: &[u8], begin: u64, patches: &mut Vec<Patch>) {
    let mut at = 0;
    let mut replace = |at: usize, bytes: Vec<u8>| {
        let at = begin + at as u64;
        patches.push(Patch { at, bytes });
    };
    while let Some(head) = block.get(at..at + HEAD_BYTES) {
        let mut length = u16::from_le_bytes([head[LENGTH_AT], head[LENGTH_AT + 1]]);
        let kind = head[TYPE_AT];
        let plain = plain_type(kind);
        if kind == 0 && length == 0 {
            // Space that was reserved and never written; RocksDB skips the block too.
            return;
        }
        let content = &block[at + HEAD_BYTES..];
        if usize::from(length) > content.len() {
            let crc = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let Some(found) = length_by_checksum(crc, plain.unwrap_or(kind), content) else {
                // A torn tail, or damage that RocksDB tells.
                return;
            };
            length = found;
            replace(at + LENGTH_AT, found.to_le_bytes().to_vec());
        }
        if let Some(plain) = plain {
            replace(at + TYPE_AT, vec![plain]);
        }
        at += HEAD_BYTES + usize::from(length);
    }
}

/// The length for which the checksum of a frame holds, if there is one.
fn length_by_checksum(masked: u32, kind: u8, content: &[u8]) -> Option<u16> {
    let mut crc = crc32c_of(!0, kind);
    for length in 0..=content.len() {
        if mask(!crc) == masked {
            return u16::try_from(length).ok();
        }
        crc = crc32c_of(crc, content.get(length).copied().unwrap_or_default());
    }
    None
}

/// RocksDB stores checksums masked, so that a checksum of bytes that hold one stays a good one.
const fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// One step of crc32c (Castagnoli), bit by bit: it is needed for a few damaged frames only.
const fn crc32c_of(crc: u32, byte: u8) -> u32 {
    let mut crc = crc ^ byte as u32;
    let mut bit = 0;
    while bit < 8 {
        let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        crc = (crc >> 1) ^ carry;
        bit += 1;
    }
    crc
}

/// The type to put instead of a recyclable one; `None` if it is none.
fn plain_type(kind: u8) -> Option<u8> {
    match kind {
        // Full, first, middle and last frame, each four above its plain type.
        5..=8 => Some(kind - 4),
        // A column family's timestamp size, and the log before this one: never written here.
        11 | 131 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, bytes: usize) -> Vec<u8> {
        let content = vec![6; bytes];
        let crc = content
            .iter()
            .fold(crc32c_of(!0, kind), |crc, byte| crc32c_of(crc, *byte));
        let crc = mask(!crc).to_le_bytes();
        let length = u16::try_from(bytes).unwrap().to_le_bytes();
        [crc.as_slice(), length.as_slice(), &[kind], &content].concat()
    }

    /// A frame that says it holds `claimed` bytes.
    fn claiming(claimed: u16, bytes: usize) -> Vec<u8> {
        let mut frame = frame(1, bytes);
        frame[4..6].copy_from_slice(&claimed.to_le_bytes());
        frame
    }

    #[test]
    fn the_checksum_is_crc32c() {
        let crc = b"123456789"
            .iter()
            .fold(!0, |crc, byte| crc32c_of(crc, *byte));
        assert_eq!(!crc, 0xe306_9283);
    }

    #[test]
    fn damaged_heads_are_found_where_they_are_and_nothing_else() {
        type Case = (&'static str, Vec<u8>, &'static [(u64, &'static [u8])]);
        let full_block = BLOCK_BYTES - HEAD_BYTES;
        let cases: [Case; 12] = [
            ("empty", vec![], &[]),
            (
                "plain",
                [frame(1, 10), frame(1, 0), frame(1, 3)].concat(),
                &[],
            ),
            ("first", frame(5, 10), &[(6, &[1])]),
            (
                "second",
                [frame(1, 10), frame(5, 3), frame(1, 3)].concat(),
                &[(23, &[1])],
            ),
            (
                "two",
                [frame(6, 10), frame(8, 3)].concat(),
                &[(6, &[2]), (23, &[4])],
            ),
            (
                "block",
                [frame(2, full_block), frame(7, 3)].concat(),
                &[(32_774, &[3])],
            ),
            (
                "unwritten",
                [frame(1, 10), vec![0; 99], frame(5, 3)].concat(),
                &[],
            ),
            ("torn", frame(1, 10)[..12].to_vec(), &[]),
            ("torn head", [frame(1, 10), vec![9; 6]].concat(), &[]),
            (
                "long",
                [frame(1, 10), claiming(0x110, 16), frame(1, 3)].concat(),
                &[(21, &[16, 0])],
            ),
            ("long and last", claiming(300, 16), &[(4, &[16, 0])]),
            (
                "two again",
                [claiming(999, 2), frame(5, 3)].concat(),
                &[(4, &[2, 0]), (15, &[1])],
            ),
        ];
        for (name, bytes, expected) in cases {
            let found = patches(&mut bytes.as_slice()).unwrap();
            let expected = expected.iter().map(|&(at, bytes)| Patch {
                at,
                bytes: bytes.to_vec(),
            });
            assert_eq!(found, expected.collect::<Vec<_>>(), "{name}");
        }
    }
}
