//! What Envoy is answered, in short lines: `OK` or `OVER`, then for each descriptor `ok` or `over`,
//! with what is left of which limit.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use futures_util::future::join_all;
use tonic::Status;

use crate::server::grpc::tests::Bed;

const LIMITS: &str = r#"
    allow_request_limits = true
    [policy.login]
    limit = "3/hour"
    [policy.address]
    limit = "10/day"
    [policy.trial]
    limit = "1/hour"
    shadow = true
    [policy.odd]
    limit = "200/90s"

    [[envoy]]
    domain = "edge"
    headers = "both"
    [[envoy.rule]]
    match = [{ key = "generic_key", value = "login" }, { key = "remote_address" }]
    policy = "login"
    key = "{remote_address}"
    [[envoy.rule]]
    match = [{ key = "remote_address" }]
    policy = "address"
    [[envoy.rule]]
    match = [{ key = "remote_address", value = "10.*" }]
    unlimited = true
    [[envoy.rule]]
    match = [{ key = "bot" }]
    blocked = true
    [[envoy.rule]]
    match = [{ key = "trial" }]
    policy = "trial"
    [[envoy.rule]]
    match = [{ key = "odd" }]
    policy = "odd"
"#;

/// Entries `key=value` with blanks between; and `hits:N`, `back`, `limit:PERMITS:UNIT`.
fn descriptor(text: &str) -> RateLimitDescriptor {
    let mut out = RateLimitDescriptor::default();
    for word in text.split(' ') {
        if let Some((key, value)) = word.split_once('=') {
            let (key, value) = (key.to_owned(), value.to_owned());
            out.entries.push(Entry { key, value });
        } else if let Some(hits) = word.strip_prefix("hits:") {
            let value = hits.parse().unwrap();
            out.hits_addend = Some(UInt64Value { value });
        } else if let Some((permits, unit)) = word
            .strip_prefix("limit:")
            .and_then(|it| it.split_once(':'))
        {
            out.limit = Some(RateLimitOverride {
                requests_per_unit: permits.parse().unwrap(),
                unit: unit.parse().unwrap(),
            });
        } else {
            assert_eq!(word, "back");
            out.is_negative_hits = true;
        }
    }
    out
}

async fn ask(bed: &Bed, descriptors: &[&str], hits: u32) -> Result<RateLimitResponse, Status> {
    ask_in("edge", bed, descriptors, hits).await
}

async fn ask_in(
    domain: &str,
    bed: &Bed,
    descriptors: &[&str],
    hits: u32,
) -> Result<RateLimitResponse, Status> {
    let mut client = RateLimitServiceClient::new(bed.channel());
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors.iter().map(|text| descriptor(text)).collect(),
        hits_addend: hits,
    };
    client
        .should_rate_limit(request)
        .await
        .map(tonic::Response::into_inner)
}

fn short(answer: &RateLimitResponse) -> String {
    let overall = match answer.overall_code() {
        Code::Ok => "OK",
        Code::OverLimit => "OVER",
        Code::Unknown => "?",
    };
    let one = |status: &DescriptorStatus| {
        let code = match status.code() {
            Code::Ok => "ok",
            Code::OverLimit => "over",
            Code::Unknown => "?",
        };
        match &status.current_limit {
            None if status.limit_remaining == u32::MAX => format!("{code} unlimited"),
            None => code.to_owned(),
            Some(limit) => format!(
                "{code} {}/{} {}",
                status.limit_remaining,
                limit.requests_per_unit,
                limit.unit().as_str_name()
            ),
        }
    };
    let all: Vec<String> = answer.statuses.iter().map(one).collect();
    format!("{overall}: {}", all.join(", "))
}

/// Asks one after the other; each is answered so.
async fn check(bed: &Bed, steps: &[(&[&str], u32, &str)]) {
    for (descriptors, hits, expected) in steps {
        let answer = match ask(bed, descriptors, *hits).await {
            Ok(answer) => short(&answer),
            Err(status) => format!("{:?}", status.code()),
        };
        assert_eq!(answer, *expected, "{descriptors:?} {hits}");
    }
}

#[tokio::test]
async fn descriptors_are_held_to_their_rules() {
    let bed = Bed::start(LIMITS).await;
    check(
        &bed,
        &[
            (
                &["generic_key=login remote_address=1"],
                0,
                "OK: ok 2/3 HOUR",
            ),
            (
                &["generic_key=login remote_address=1"],
                1,
                "OK: ok 1/3 HOUR",
            ),
            (
                &["generic_key=login remote_address=2"],
                0,
                "OK: ok 2/3 HOUR",
            ),
            (&["remote_address=1"], 4, "OK: ok 6/10 DAY"),
            (&["remote_address=10.0.0.1"], 9, "OK: ok unlimited"),
            (&["generic_key=other"], 0, "OK: ok"),
            (&["odd=1"], 0, "OK: ok 199/200 UNKNOWN"),
            (&["bot=1"], 0, "OVER: over"),
            // Shadow: told as allowed.
            (&["trial=1"], 0, "OK: ok 0/1 HOUR"),
            (&["trial=1"], 0, "OK: ok 0/1 HOUR"),
            // More than can ever pass.
            (&["remote_address=1"], 11, "OVER: over 0/10 DAY"),
            (&["remote_address=1"], 6, "OK: ok 0/10 DAY"),
        ],
    )
    .await;
}

#[tokio::test]
async fn if_one_is_over_nothing_counts_for_the_others() {
    let bed = Bed::start(LIMITS).await;
    let login = "generic_key=login remote_address=1";
    let address = "remote_address=1";
    check(
        &bed,
        &[
            (&[login, address], 2, "OK: ok 1/3 HOUR, ok 8/10 DAY"),
            (&[login, address], 2, "OVER: over 1/3 HOUR, ok 8/10 DAY"),
            (&[address, login], 2, "OVER: ok 8/10 DAY, over 1/3 HOUR"),
            (&[address, "bot=1"], 2, "OVER: ok 8/10 DAY, over"),
            (
                &[address, "odd=1 hits:201"],
                2,
                "OVER: ok 8/10 DAY, over 0/200 UNKNOWN",
            ),
            // Twice the same: both count, or none.
            (&[address, address], 4, "OK: ok 4/10 DAY, ok 0/10 DAY"),
            (&[login, login], 1, "OVER: ok 1/3 HOUR, over 0/3 HOUR"),
            (&[login], 1, "OK: ok 0/3 HOUR"),
        ],
    )
    .await;
}

#[tokio::test]
async fn hits_are_taken_from_the_descriptor_or_the_request_and_given_back() {
    let bed = Bed::start(LIMITS).await;
    check(
        &bed,
        &[
            (&["remote_address=1 hits:3"], 7, "OK: ok 7/10 DAY"),
            (&["remote_address=1 hits:0"], 7, "OK: ok 7/10 DAY"),
            (&["remote_address=1"], 2, "OK: ok 5/10 DAY"),
            (&["remote_address=1 hits:4 back"], 0, "OK: ok 9/10 DAY"),
            (&["remote_address=1 back"], 0, "OK: ok 10/10 DAY"),
            // Never more than was counted.
            (&["remote_address=1 hits:900 back"], 0, "OK: ok 10/10 DAY"),
            (&["remote_address=1"], 10, "OK: ok 0/10 DAY"),
            // Nothing is given back by a request that is over its limit.
            (
                &["remote_address=1 hits:5 back", "bot=1"],
                0,
                "OVER: ok 0/10 DAY, over",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_descriptor_may_bring_its_own_limit_where_that_is_allowed() {
    let bed = Bed::start(LIMITS).await;
    check(
        &bed,
        &[
            (&["any=1 limit:2:2"], 0, "OK: ok 1/2 MINUTE"),
            (&["any=1 limit:2:2"], 0, "OK: ok 0/2 MINUTE"),
            (&["any=1 limit:2:2"], 0, "OVER: over 0/2 MINUTE"),
            (&["any=2 limit:2:2"], 0, "OK: ok 1/2 MINUTE"),
            (&["any=1 limit:5:5"], 0, "OK: ok 4/5 MONTH"),
            (&["any=1 limit:0:2"], 0, "OVER: over"),
            (&["any=1 limit:5:0"], 0, "InvalidArgument"),
            (&["any=1 limit:5:99"], 0, "InvalidArgument"),
        ],
    )
    .await;
    let bed = Bed::start(&LIMITS.replace("allow_request_limits = true", "")).await;
    let refused = ask(&bed, &["any=1 limit:2:2"], 0).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(
        refused.message().contains("allow_request_limits"),
        "{refused}"
    );
}

#[tokio::test]
async fn keys_of_any_length_are_told_apart() {
    let bed = Bed::start(LIMITS).await;
    let long = format!("remote_address={}", "a".repeat(5000));
    let other = format!("{long}b");
    check(
        &bed,
        &[
            (&[&long], 10, "OK: ok 0/10 DAY"),
            (&[&long], 1, "OVER: over 0/10 DAY"),
            (&[&other], 1, "OK: ok 9/10 DAY"),
            (&["remote_address="], 1, "OK: ok 9/10 DAY"),
        ],
    )
    .await;
}

#[tokio::test]
async fn headers_tell_of_the_nearest_limit() {
    let bed = Bed::start(LIMITS).await;
    let told = |answer: &RateLimitResponse| -> Vec<(String, String)> {
        let headers = answer.response_headers_to_add.iter();
        headers
            .map(|it| (it.key.clone(), it.value.clone()))
            .collect()
    };
    let descriptors = ["remote_address=1", "generic_key=login remote_address=1"];
    let answer = ask(&bed, &descriptors, 3).await.unwrap();
    let headers = told(&answer);
    assert_eq!(
        headers[0],
        ("ratelimit-policy".into(), "\"login\";q=3;w=3600".into())
    );
    assert!(headers[1].1.starts_with("\"login\";r=0;t=3"), "{headers:?}");
    assert_eq!(headers[2], ("x-ratelimit-limit".into(), "3".into()));
    assert_eq!(headers[3], ("x-ratelimit-remaining".into(), "0".into()));
    assert_eq!(headers.len(), 5);
    let over = told(&ask(&bed, &descriptors, 3).await.unwrap());
    assert_eq!(over[5].0, "retry-after");
    assert!(
        (3000..=3700).contains(&over[5].1.parse::<u64>().unwrap()),
        "{over:?}"
    );
    let none = ask(&bed, &["generic_key=other"], 0).await.unwrap();
    assert_eq!(told(&none), []);
}

#[tokio::test]
async fn what_no_rule_is_there_for_passes_and_is_counted() {
    let bed = Bed::start(LIMITS).await;
    let counted = || (bed.envoy.unknown_domains(), bed.envoy.unmatched());
    let two = ["remote_address=1", "generic_key=other"];
    for (domain, expected) in [
        ("edge", (0, 1)),
        ("elsewhere", (1, 1)),
        ("elsewhere", (2, 1)),
        ("edge", (2, 2)),
    ] {
        let answer = ask_in(domain, &bed, &two, 0).await.unwrap();
        assert_eq!(answer.overall_code(), Code::Ok, "{domain}");
        assert_eq!(counted(), expected, "{domain}");
    }
}

#[tokio::test]
async fn many_at_once_never_get_more_than_the_least_limit_and_leave_nothing_counted() {
    let bed = Bed::start(LIMITS).await;
    let descriptors = [
        "remote_address=1",
        "odd=1",
        "generic_key=login remote_address=1",
    ];
    let asks = (0..40).map(|_| ask(&bed, &descriptors, 1));
    let answers = join_all(asks).await;
    let passed = answers
        .iter()
        .filter(|it| it.as_ref().unwrap().overall_code() == Code::Ok);
    let passed = u32::try_from(passed.count()).unwrap();
    assert!(passed <= 3, "{passed}");
    let peek = ["remote_address=1 hits:0", "odd=1 hits:0"];
    let left: Vec<u32> = ask(&bed, &peek, 0)
        .await
        .unwrap()
        .statuses
        .iter()
        .map(|it| it.limit_remaining)
        .collect();
    assert_eq!(left, [10 - passed, 200 - passed]);
}
