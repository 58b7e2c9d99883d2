//! Golden vectors, round trips, and bytes that nobody wrote.

use proptest::prelude::*;

use super::*;
use crate::limiter::commit_record::{self, Group, RecordWriter, cut, groups, write_groups};
use crate::limiter::policy::Limits;
use crate::types::{Epoch, NodeId, Position, Slot};

const OWNER: NodeId = NodeId(0x0102);
const AT: Position = Position {
    epoch: Epoch {
        counter: 4,
        node: OWNER,
    },
    n: 300,
};
const ID: StateId = StateId(0xabc0_0102_0304_0506_0708_090a_0b0c_0d0e);

fn sample() -> (KeyState, Shape, Reservations) {
    let limits = Limits::new(vec!["5/s".parse().unwrap(), "100/min".parse().unwrap()]).unwrap();
    let mut state = KeyState::new();
    state.check(&limits, 2, SlotTime::from_ms(1999)).unwrap();
    state.check(&limits, 3, SlotTime::from_ms(2000)).unwrap();
    let open = Open {
        id: ReservationId(7),
        grant: Grant {
            at: SlotTime::from_ms(2000),
            cost: 3,
        },
        expires_at: SlotTime::from_ms(70_000),
    };
    (state, Shape::of(&limits), [open].into_iter().collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn rows_keep_their_format() {
    let (state, shape, reservations) = sample();
    let row = encode_row(ID, &state, &shape, &reservations);
    assert_eq!(
        hex(&row),
        "566b17e8017011010000000000\
         02e8070102cf0f02d00f03e0d403f403020302040301\
         0700000000000000d00f03f0a204"
    );
    assert_eq!(expires_at(&row), Some(SlotTime::from_ms(70_000)));
}

#[test]
fn quarantine_rows_keep_their_format() {
    let row = quarantine_row(ID, SlotTime::from_ms(2000));
    assert_eq!(hex(&row), "55ddc08502d18fd75c07000000d007000000000000");
    let decoded = decode_row(ID, &row).unwrap();
    assert_eq!(decoded.quarantined_since, Some(SlotTime::from_ms(2000)));
    let expiry = SlotTime::from_ms(2001).plus_ms(WINDOW_MS_MAX);
    assert_eq!(expires_at(&row), Some(expiry));
    assert!(decode_row(StateId::first_of(ID.slot()), &row).is_err());
}

#[test]
fn commit_records_keep_their_format() {
    let (state, shape, reservations) = sample();
    let mut out = Vec::new();
    let mut writer = RecordWriter::new(&mut out, 9, SlotTime::from_ms(2000), OWNER);
    assert!(writer.is_empty());
    writer.begin_slot(ID.slot(), AT, SlotTime::from_ms(300));
    writer.changed(ID, &state, &shape, SlotTime::from_ms(2000));
    writer.whole(ID, &state, &shape, &reservations);
    writer.finish();
    assert_eq!(
        hex(&out),
        "ec767b41030900000000000000d00700000000000002010000000000000000000000000000bc0a04ac02ac0256000000\
         abc00102030405060708090a0b0c0d0e0002e8070101d00f03e0d403f403010403\
         abc00102030405060708090a0b0c0d0e0102e8070102cf0f02d00f03e0d403f403020302040301\
         0700000000000000d00f03f0a204"
    );
    let mut entries = Vec::new();
    let head = commit_record::read(&out, |entry| entries.push(entry)).unwrap();
    assert_eq!((head.number, head.stamp), (9, SlotTime::from_ms(2000)));
    assert_eq!(head.owner, OWNER);
    assert_eq!(
        entries.iter().map(|e| (e.id, e.whole)).collect::<Vec<_>>(),
        [(ID, false), (ID, true)]
    );
    assert_eq!(entries[1].state.reservations, reservations);
}

/// A record as it was written before groups had clocks.
const OLD_RECORD: &str = "92a5dc76020900000000000000d00700000000000002010000000000000000000000000000bc0a04ac0256000000\
     abc00102030405060708090a0b0c0d0e0002e8070101d00f03e0d403f403010403\
     abc00102030405060708090a0b0c0d0e0102e8070102cf0f02d00f03e0d403f403020302040301\
     0700000000000000d00f03f0a204";

#[test]
fn a_record_of_before_there_were_replicas_reads_without_clocks() {
    let digits = OLD_RECORD.as_bytes().chunks(2);
    let bytes = digits.map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap());
    let old: Vec<u8> = bytes.collect();
    let (head, read) = groups(&old).unwrap();
    assert_eq!((head.number, head.owner), (9, OWNER));
    let read: Vec<_> = read.map(Result::unwrap).collect();
    assert_eq!(read.len(), 1);
    let (group, entries) = (&read[0], read[0].entries());
    assert_eq!((group.slot, group.at, group.clock), (ID.slot(), AT, None));
    let entries: Vec<_> = entries.map(|it| it.unwrap().whole).collect();
    assert_eq!(entries, [false, true]);
    assert!(group.raw().is_empty(), "it is not told on");
}

#[test]
fn groups_are_cut_out_and_put_into_another_record_as_they_are() {
    let (state, shape, reservations) = sample();
    let mut record = Vec::new();
    let mut writer = RecordWriter::new(&mut record, 9, SlotTime::from_ms(2000), OWNER);
    for number in [ID.slot().number(), ID.slot().number() + 1] {
        let slot = Slot::new(number).unwrap();
        let id = StateId(StateId::first_of(slot).0 | 5);
        let clock = SlotTime::from_ms(u64::from(number));
        writer.begin_slot(slot, AT, clock);
        writer.changed(id, &state, &shape, SlotTime::from_ms(2000));
        writer.whole(id, &state, &shape, &reservations);
    }
    writer.finish();
    let (_, read) = groups(&record).unwrap();
    let read: Vec<_> = read.map(Result::unwrap).collect();
    let raw: Vec<&[u8]> = read.iter().map(Group::raw).collect();
    let clocks: Vec<_> = read
        .iter()
        .map(|group| group.clock.unwrap().as_ms())
        .collect();
    assert_eq!(clocks, [0xabc, 0xabd]);

    let frame = raw.concat();
    let again: Vec<_> = cut(OWNER, &frame).map(Result::unwrap).collect();
    assert_eq!(again.iter().map(Group::raw).collect::<Vec<_>>(), raw);
    let other: Vec<_> = cut(NodeId(7), &frame).map(Result::unwrap).collect();
    assert_eq!(
        other[0].at.epoch.node,
        NodeId(7),
        "reigns are those of who sent them"
    );

    let mut copied = Vec::new();
    write_groups(
        &mut copied,
        (9, SlotTime::from_ms(2000), OWNER),
        raw.iter().copied(),
    );
    assert_eq!(copied, record);
    for length in 0..frame.len() {
        let whole = cut(OWNER, &frame[..length]).flatten().count();
        let is_cut = cut(OWNER, &frame[..length]).any(|group| group.is_err());
        assert_eq!(whole, usize::from(length >= raw[0].len()), "{length} bytes");
        assert_eq!(
            is_cut,
            length != 0 && length != raw[0].len(),
            "{length} bytes"
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (state, shape, reservations) = sample();
    let row = encode_row(ID, &state, &shape, &reservations);
    let mut record = Vec::new();
    let mut writer = RecordWriter::new(&mut record, 9, SlotTime::ZERO, OWNER);
    writer.begin_slot(ID.slot(), AT, SlotTime::from_ms(300));
    writer.whole(ID, &state, &shape, &reservations);
    writer.finish();
    for bit in 0..row.len() * 8 {
        let mut bad = row.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            decode_row(ID, &bad).unwrap_err(),
            CodecError::Checksum,
            "bit {bit}"
        );
    }
    for bit in 0..record.len() * 8 {
        let mut bad = record.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let read = commit_record::read(&bad, |_| panic!("an entry of a damaged record was used"));
        assert_eq!(read.unwrap_err(), CodecError::Checksum, "bit {bit}");
    }
    assert_eq!(
        decode_row(StateId(ID.0 ^ 1), &row).unwrap_err(),
        CodecError::Checksum,
        "other key"
    );
}

#[test]
fn a_newer_format_is_named() {
    let (state, shape, reservations) = sample();
    let mut row = encode_row(ID, &state, &shape, &reservations);
    row[4] = 3;
    let crc = row_checksum(ID, &row[4..]);
    row[..4].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode_row(ID, &row).unwrap_err(), CodecError::Version(3));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        checks in prop::collection::vec((0..500u64, 1..40u64), 0..80),
        permits in 1..200u64,
        window_ms in 1..100_000u64,
    ) {
        let limits = Limits::from(Limit::new(permits, window_ms).unwrap());
        let (mut state, mut now) = (KeyState::new(), SlotTime::ZERO);
        for (wait, cost) in checks {
            now = now.plus_ms(wait);
            state.check(&limits, cost, now).ok();
        }
        let shape = Shape::of(&limits);
        let row = encode_row(ID, &state, &shape, &Reservations::default());
        let decoded = decode_row(ID, &row).unwrap();
        prop_assert_eq!(decoded.shape, shape);
        let buckets: Vec<_> = state.buckets(0).collect();
        prop_assert_eq!(decoded.buckets.list(0), &buckets[..]);
        prop_assert_eq!(expires_at(&row).unwrap(), state.expires_at(&shape));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_an_error_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        valid_checksum in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if valid_checksum && bytes.len() > 4 {
            bytes[4] = 1;
            let crc = row_checksum(ID, &bytes[4..]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            drop(decode_row(ID, &bytes));
            for version in [2, 3] {
                bytes[4] = version;
                let crc = crc32fast::hash(&bytes[4..]);
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
                commit_record::read(&bytes, |_| {}).ok();
            }
            for group in cut(OWNER, &bytes[4..]).flatten() {
                group.entries().for_each(drop);
            }
        } else {
            prop_assert!(decode_row(ID, &bytes).is_err());
            prop_assert!(commit_record::read(&bytes, |_| ()).is_err());
        }
    }
}
