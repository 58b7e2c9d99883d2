//! Every message byte for byte: a vector that changes is a wire format that broke.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::admin::{
    AdminRequest, AdminResponse, HotKey, HotKeys, Inspected, InspectedLimit, PolicyLine, Status,
};
use super::client::{
    Ask, PolicyRef, Request, RequestBody, Response, ResponseBody, Target, WireDecision, WireSource,
};
use super::error::WireError;
use super::frame::{decode, encode};
use super::hello::{Hello, HelloAnswer, Welcome};
use super::replicas::ReplicaLink;

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// `message` is written as `golden`, and read back from it as itself.
pub(super) fn pinned<T>(message: &T, golden: &str)
where
    T: Serialize + for<'a> Deserialize<'a> + PartialEq + Debug,
{
    let mut frame = Vec::new();
    encode(message, &mut frame).unwrap();
    assert_eq!(hex(&frame), golden, "{message:?}");
    assert_eq!(decode::<T>(&frame[4..]).as_ref(), Ok(message));
}

/// Like `pinned`, for messages that borrow.
fn pinned_bytes(message: &impl Serialize, golden: &str) {
    let mut frame = Vec::new();
    encode(message, &mut frame).unwrap();
    assert_eq!(hex(&frame), golden);
}

const NAMED: Target<'static> = Target {
    policy: PolicyRef::Named("api"),
    key: "k1",
};

fn carried() -> Target<'static> {
    Target {
        policy: PolicyRef::Carried {
            name: "c",
            limits: vec![(100, 60_000), (1, 2)],
        },
        key: "ü",
    }
}

#[test]
fn hellos_keep_their_bytes() {
    let hello = Hello {
        oldest: 1,
        newest: 300,
        agent: "drl/0.1.0".to_owned(),
    };
    pinned(&hello, "0d00000001ac020964726c2f302e312e30");
    let welcome = Welcome {
        version: 1,
        node: 0x0102_0304,
        cluster: 5,
        slot_count: 4096,
        key_secret: *b"0123456789abcdef",
        in_flight_max: 4096,
    };
    pinned::<HelloAnswer>(
        &Ok(welcome),
        "1b000000000184868808058020303132333435363738396162636465668020",
    );
    let mismatch = WireError::VersionMismatch {
        oldest: 1,
        newest: 2,
    };
    pinned::<HelloAnswer>(&Err(mismatch), "0400000001080102");
}

#[test]
fn requests_keep_their_bytes() {
    let ask = |target, cost| Ask { target, cost };
    let cases = [
        (
            RequestBody::Check(vec![ask(NAMED, 1), ask(carried(), 300)]),
            "1d000000c8013200020003617069026b31010101630264e0d403010202c3bcac02",
        ),
        (
            RequestBody::Peek(vec![ask(NAMED, 0)]),
            "0e000000c8013201010003617069026b3100",
        ),
        (
            RequestBody::Refund {
                target: NAMED,
                at_ms: 1000,
                cost: 2,
            },
            "0f000000c80132020003617069026b31e80702",
        ),
        (
            RequestBody::Reserve {
                ask: ask(NAMED, 7),
                ttl_ms: 500,
            },
            "0f000000c80132030003617069026b3107f403",
        ),
        (
            RequestBody::Settle {
                target: NAMED,
                reservation: 9,
                actual: 3,
            },
            "0e000000c80132040003617069026b310903",
        ),
        (
            RequestBody::Cancel {
                target: NAMED,
                reservation: 9,
            },
            "0d000000c80132050003617069026b3109",
        ),
        (
            RequestBody::Reset { target: NAMED },
            "0c000000c80132060003617069026b31",
        ),
    ];
    for (body, golden) in cases {
        let request = Request {
            id: 200,
            deadline_ms: 50,
            body,
        };
        pinned_bytes(&request, golden);
    }
}

#[test]
fn responses_keep_their_bytes() {
    let decision = |source, granted_at_ms| WireDecision {
        allowed: true,
        shadow_denied: false,
        limit: 100,
        remaining: 99,
        reset_after_ms: 60_000,
        retry_after_ms: 0,
        source,
        granted_at_ms,
    };
    let cases = [
        (
            ResponseBody::Decisions(vec![
                Ok(decision(WireSource::Owner, Some(12_345))),
                Ok(decision(WireSource::Proxied, None)),
                Ok(decision(WireSource::Cached, None)),
                Ok(decision(WireSource::Degraded, None)),
                Err(WireError::KeyEmpty),
            ]),
            "34000000c80100050001006463e0d403000001b9600001006463e0d4030001000001006463e0d4030002000001006463e0d4030003000101",
        ),
        (ResponseBody::Refunded { permits: 2 }, "04000000c8010102"),
        (
            ResponseBody::Reserved {
                decision: decision(WireSource::Owner, Some(1)),
                reservation: Some(77),
            },
            "10000000c8010201006463e0d40300000101014d",
        ),
        (ResponseBody::Done, "03000000c80103"),
        (
            ResponseBody::Failed(WireError::Unavailable),
            "04000000c8010406",
        ),
    ];
    for (body, golden) in cases {
        pinned(&Response { id: 200, body }, golden);
    }
}

#[test]
fn errors_keep_their_bytes() {
    let text = || "xy".to_owned();
    let cases = [
        (
            WireError::UnknownPolicy { name: text() },
            "0400000000027879",
        ),
        (WireError::KeyEmpty, "0100000001"),
        (WireError::KeyTooLong { bytes: 257 }, "03000000028102"),
        (
            WireError::CostAboveLimit {
                cost: 300,
                limit: 100,
            },
            "0400000003ac0264",
        ),
        (WireError::Overloaded { retry_ms: 5 }, "020000000405"),
        (WireError::DeadlineExceeded, "0100000005"),
        (WireError::Unavailable, "0100000006"),
        (WireError::StorageFailed, "0100000007"),
        (
            WireError::VersionMismatch {
                oldest: 1,
                newest: 2,
            },
            "03000000080102",
        ),
        (WireError::Malformed { reason: text() }, "0400000009027879"),
        (WireError::RequestLimitsOff, "010000000a"),
        (
            WireError::BadRequestLimit {
                name: text(),
                reason: "z".to_owned(),
            },
            "060000000b027879017a",
        ),
        (WireError::TooManyPolicies { max: 1024 }, "030000000c8008"),
        (WireError::TooManyReservations { max: 64 }, "020000000d40"),
        (WireError::UnknownReservation, "010000000e"),
        (
            WireError::BatchTooLarge {
                items: 2000,
                max: 1024,
            },
            "050000000fd00f8008",
        ),
        (
            WireError::RoleRefused { needed: text() },
            "0400000010027879",
        ),
        (
            WireError::NotOwner {
                slot: 4095,
                epoch: 3,
                owner: 1,
            },
            "0500000011ff1f0301",
        ),
        (WireError::AnswerLost, "0100000012"),
    ];
    for (error, golden) in cases {
        pinned(&error, golden);
    }
}

#[test]
fn admin_requests_keep_their_bytes() {
    let cases = [
        (
            AdminRequest::Client(RequestBody::Reset { target: NAMED }),
            "0a00000000060003617069026b31",
        ),
        (AdminRequest::Inspect(NAMED), "09000000010003617069026b31"),
        (AdminRequest::Policies, "0100000002"),
        (AdminRequest::Status, "0100000003"),
        (AdminRequest::Hot, "010000000a"),
    ];
    for (request, golden) in cases {
        pinned_bytes(&request, golden);
    }
}

#[test]
fn admin_answers_keep_their_bytes() {
    let inspected = Inspected {
        slot: 4095,
        now_ms: 1000,
        limits: vec![InspectedLimit {
            permits: 100,
            window_ms: 60_000,
            bucket_ms: 1000,
            buckets: vec![(0, 1), (1000, 2)],
        }],
        reservations: vec![(1, 2, 3)],
        quarantine_ms: 4,
    };
    let line = PolicyLine {
        name: "api".to_owned(),
        limits: vec!["100/min".to_owned()],
        on_failure: "deny".to_owned(),
        durability: "process".to_owned(),
        shadow: false,
        overrides: 1,
        carried: true,
    };
    let cases = [
        (AdminResponse::Client(ResponseBody::Done), "020000000003"),
        (
            AdminResponse::Inspected(inspected),
            "1700000001ff1fe8070164e0d403e807020001e807020101020304",
        ),
        (
            AdminResponse::Policies(vec![line]),
            "1f00000002010361706901073130302f6d696e0464656e790770726f63657373000101",
        ),
        (
            AdminResponse::Status(Box::new(status())),
            "3b0000000305302e312e30016e0102030405060708090a0b0c0d0e0f10111213026f6b0164141516171819011f2021\
             01652223017201240125262701017728",
        ),
        (
            AdminResponse::Failed(WireError::Unavailable),
            "020000000406",
        ),
        (
            AdminResponse::Hot(Box::new(hot_keys())),
            "0f0000000b01020103617069026b3103040500",
        ),
    ];
    for (answer, golden) in cases {
        pinned(&answer, golden);
    }
}

fn hot_keys() -> HotKeys {
    HotKeys {
        span_ms: 1,
        sampled: 2,
        asked: vec![HotKey {
            policy: "api".to_owned(),
            key: "k1".to_owned(),
            checks: 3,
            error: 4,
            denied: 5,
        }],
        denied: Vec::new(),
    }
}

/// A status whose numbers name their places.
fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        node: "n".to_owned(),
        boot_counter: 1,
        uptime_ms: 2,
        keys: 3,
        keys_max: 4,
        table_bytes: 5,
        table_bytes_max: 6,
        resident_bytes: 7,
        checks: 8,
        grants: 9,
        denials: 10,
        degraded: 11,
        errors: 12,
        overloaded: 13,
        evictions: 14,
        commits: 15,
        committed: 16,
        synced: 17,
        quarantined_keys: 18,
        quarantine_ms: 19,
        storage: "ok".to_owned(),
        data_dir: "d".to_owned(),
        connections: 20,
        policies: 21,
        policies_max: 22,
        durability: [23, 24, 25],
        policy_file_differs: true,
        not_owner: 31,
        sealed_out: 32,
        peers_refused: 33,
        policy_file_error: "e".to_owned(),
        seals: 34,
        seal_longest_ms: 35,
        shut_out: "r".to_owned(),
        replica_links: vec![ReplicaLink {
            node: 36,
            linked: true,
            owed: 37,
            unsynced: 38,
        }],
        without_majority: 39,
        acknowledgements_refused: vec![("w".to_owned(), 40)],
    }
}
