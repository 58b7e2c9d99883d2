//! The head that storage puts before each commit record.
//!
//! Commits that changed nothing are not written, so the numbers in the journal have holes by
//! themselves. To tell such a hole from a lost record, each record names the one written before it.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | number of the commit written before this one; 0 if none ever was (u64 LE) |
//! | 8 | 4 | crc32 over this commit's number (u64 LE) and the 8 bytes before (u32 LE) |
//! | 12 | | the record as the limiter packed it, with its own checksum |

/// Bytes of the head.
pub(super) const HEAD_BYTES: usize = 12;

/// Empties `record` and makes room for the head.
pub(super) fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEAD_BYTES, 0);
}

/// Fills in the head of `record`, which [`begin`] began.
pub(super) fn seal(record: &mut [u8], number: u64, previous: u64) {
    if let Some(head) = record.first_chunk_mut() {
        *head = head_of(number, previous);
    }
}

/// Splits what was stored under `number` into the number written before it and the limiter's
/// record; `None` if the head is damaged.
pub(super) fn open(number: u64, stored: &[u8]) -> Option<(u64, &[u8])> {
    let (head, record) = stored.split_first_chunk::<HEAD_BYTES>()?;
    let previous = u64::from_le_bytes(*head.first_chunk()?);
    (*head == head_of(number, previous) && previous < number).then_some((previous, record))
}

fn head_of(number: u64, previous: u64) -> [u8; HEAD_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(&previous.to_le_bytes());
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&previous.to_le_bytes());
    head[8..].copy_from_slice(&crc.finalize().to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_record_opens_under_its_own_number_only() {
        let mut record = vec![9; 40];
        begin(&mut record);
        record.extend_from_slice(b"buckets");
        seal(&mut record, 258, 7);
        assert_eq!(open(258, &record), Some((7, b"buckets".as_slice())));
        assert_eq!(open(259, &record), None);
        for at in 0..HEAD_BYTES {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert_eq!(open(258, &damaged), None, "byte {at}");
            assert_eq!(open(258, &record[..at]), None, "{at} bytes");
        }
    }
}
