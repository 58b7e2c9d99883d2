//! The watermark: a small file that keeps the number of the last synced commit.
//!
//! RocksDB cannot tell a torn tail of its log from a damaged one, and drops either in silence. So
//! about once a second, and at a clean close, the number of the last commit that a sync has made
//! safe is put here. A database that opens with a lower last commit has lost what was acknowledged
//! (see [`super::recovery`]). The file also says whether the last close was clean, and in which
//! boot of the machine it was written.
//!
//! The file has two slots of 512 bytes at 0 and 4096, so that they share no sector; they are
//! written in turn, and the valid one with the higher sequence holds. A write that is torn harms
//! only the older of the two. A slot:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | `drlwmark` |
//! | 8 | 1 | version, 1 |
//! | 9 | 1 | 1 if the close was clean, else 0 |
//! | 10 | 8 | sequence of this write (u64 LE) |
//! | 18 | 8 | number of the last synced commit (u64 LE) |
//! | 26 | 16 | boot id (u128 LE) |
//! | 42 | 4 | crc32 over all before (u32 LE) |

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"drlwmark";
const VERSION: u8 = 1;
const SLOT_BYTES: usize = 46;
const SLOT_OFFSETS: [u64; 2] = [0, 4096];

/// One boot of the machine: `/proc/sys/kernel/random/boot_id`, as a number.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BootId(pub(crate) u128);

impl BootId {
    /// Reads the 32 hexadecimal digits of a boot id, with or without dashes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|&c| c != '-').collect();
        if digits.len() != 32 {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(Self)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({:032x})", self.0)
    }
}

/// What the watermark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Number of the last commit record that survives power loss; 0 if there is none.
    pub(crate) synced: u64,
    /// Nothing was written after this mark.
    pub(crate) clean: bool,
    /// Boot in which it was written.
    pub(crate) boot: BootId,
}

impl Mark {
    /// The mark of a directory whose database is not created yet.
    pub(super) const fn unborn(boot: BootId) -> Self {
        Self {
            synced: 0,
            clean: true,
            boot,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    sequence: u64,
}

impl Watermark {
    /// Opens the file, making it if it is not there, and reads what it says: `None` if it is new
    /// or no slot of it is valid.
    ///
    /// # Errors
    /// The system's, for opening and reading.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let newest = newest_slot(&file)?;
        let sequence = newest.map_or(0, |(sequence, _)| sequence);
        Ok((Self { file, sequence }, newest.map(|(_, mark)| mark)))
    }

    /// What the file at `path` says, without changing it; `None` if no slot of it is valid.
    ///
    /// # Errors
    /// The system's, for opening and reading; so also if the file is missing.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Mark>> {
        Ok(newest_slot(&File::open(path)?)?.map(|(_, mark)| mark))
    }

    /// Writes `mark`; when this returns it survives power loss.
    ///
    /// # Errors
    /// The system's; the earlier mark is then still there.
    pub(crate) fn put(&mut self, mark: Mark) -> io::Result<()> {
        let sequence = self.sequence.saturating_add(1);
        let offset = SLOT_OFFSETS[usize::from(sequence % 2 == 1)];
        self.file.write_all_at(&encode(sequence, mark), offset)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }
}

fn newest_slot(file: &File) -> io::Result<Option<(u64, Mark)>> {
    let mut newest: Option<(u64, Mark)> = None;
    for offset in SLOT_OFFSETS {
        let mut slot = [0; SLOT_BYTES];
        match file.read_exact_at(&mut slot, offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        if let Some((sequence, mark)) = decode(&slot)
            && newest.is_none_or(|(best, _)| best < sequence)
        {
            newest = Some((sequence, mark));
        }
    }
    Ok(newest)
}

fn encode(sequence: u64, mark: Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(MAGIC);
    slot[8] = VERSION;
    slot[9] = u8::from(mark.clean);
    slot[10..18].copy_from_slice(&sequence.to_le_bytes());
    slot[18..26].copy_from_slice(&mark.synced.to_le_bytes());
    slot[26..42].copy_from_slice(&mark.boot.0.to_le_bytes());
    let crc = crc32fast::hash(&slot[..42]);
    slot[42..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, Mark)> {
    let crc = u32::from_le_bytes(slot[42..].try_into().ok()?);
    if crc != crc32fast::hash(&slot[..42]) || &slot[..8] != MAGIC || slot[8] != VERSION {
        return None;
    }
    let mark = Mark {
        synced: u64::from_le_bytes(slot[18..26].try_into().ok()?),
        clean: slot[9] == 1,
        boot: BootId(u128::from_le_bytes(slot[26..42].try_into().ok()?)),
    };
    Some((u64::from_le_bytes(slot[10..18].try_into().ok()?), mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(synced: u64) -> Mark {
        Mark {
            synced,
            clean: synced.is_multiple_of(2),
            boot: BootId(7 << 100),
        }
    }

    #[test]
    fn the_last_mark_put_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let (mut file, found) = Watermark::open(&path).unwrap();
        assert_eq!(found, None);
        for synced in 1..6 {
            file.put(mark(synced)).unwrap();
            assert_eq!(Watermark::read(&path).unwrap(), Some(mark(synced)));
            let (reopened, found) = Watermark::open(&path).unwrap();
            assert_eq!(found, Some(mark(synced)));
            file = reopened;
        }
    }

    #[test]
    fn a_damaged_slot_leaves_the_mark_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let (mut file, _) = Watermark::open(&path).unwrap();
        file.put(mark(1)).unwrap();
        file.put(mark(2)).unwrap();
        for at in 0..SLOT_BYTES {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 0x10;
            let copy = dir.path().join("copy");
            std::fs::write(&copy, &bytes).unwrap();
            assert_eq!(Watermark::read(&copy).unwrap(), Some(mark(1)), "byte {at}");
            bytes[4096 + at] ^= 0x10;
            std::fs::write(&copy, &bytes).unwrap();
            assert_eq!(Watermark::read(&copy).unwrap(), None, "byte {at}");
        }
    }

    #[test]
    fn the_bytes_of_a_slot_never_change() {
        let slot = encode(3, mark(258));
        let mut expected = b"drlwmark\x01\x01".to_vec();
        expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x70, 0, 0, 0]);
        let crc = crc32fast::hash(&expected);
        expected.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(slot.as_slice(), expected);
        assert_eq!(decode(&slot), Some((3, mark(258))));
    }

    #[test]
    fn boot_ids_read_as_the_kernel_writes_them() {
        let cases = [
            (
                "0a000000-0000-0000-0000-0000000000ff\n",
                Some(BootId((10 << 120) | 255)),
            ),
            (
                "0a0000000000000000000000000000ff",
                Some(BootId((10 << 120) | 255)),
            ),
            ("0a00", None),
            ("", None),
            ("zz000000-0000-0000-0000-0000000000ff", None),
        ];
        for (text, expected) in cases {
            assert_eq!(BootId::parse(text), expected, "{text:?}");
        }
    }
}
