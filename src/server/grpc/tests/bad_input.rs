//! What is refused, and does no harm.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code as Over;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::{Code, Status};

use super::Bed;

const LIMITS: &str = r#"
    [policy.all]
    limit = "600/hour"
    [[envoy]]
    domain = "edge"
    [[envoy.rule]]
    match = [{ key = "k" }]
    policy = "all"
    key = "one"
"#;

fn descriptor(value: String) -> RateLimitDescriptor {
    let key = "k".to_owned();
    RateLimitDescriptor {
        entries: vec![Entry { key, value }],
        ..RateLimitDescriptor::default()
    }
}

async fn ask(
    bed: &Bed,
    domain: &str,
    descriptors: Vec<RateLimitDescriptor>,
) -> Result<RateLimitResponse, Status> {
    let mut client = RateLimitServiceClient::new(bed.channel());
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors,
        hits_addend: 0,
    };
    client
        .should_rate_limit(request)
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test]
async fn what_is_too_large_or_says_nothing_is_refused() {
    let bed = Bed::start(LIMITS).await;
    let many = |count: usize| (0..count).map(|n| descriptor(n.to_string())).collect();
    let cases = [
        ("", many(1), Code::InvalidArgument),
        ("edge", Vec::new(), Code::InvalidArgument),
        ("edge", many(1025), Code::InvalidArgument),
        (
            "edge",
            vec![descriptor("x".repeat(10 << 20))],
            Code::OutOfRange,
        ),
    ];
    for (domain, descriptors, expected) in cases {
        let refused = ask(&bed, domain, descriptors).await.unwrap_err();
        assert_eq!(refused.code(), expected, "{domain}: {refused}");
    }
    // Nothing of that has counted, and the connection is as good as new.
    let answer = ask(&bed, "edge", many(1)).await.unwrap();
    assert_eq!(answer.statuses[0].limit_remaining, 599);
}

#[tokio::test]
async fn a_thousand_descriptors_count_all_or_none() {
    let bed = Bed::start(LIMITS).await;
    let many = |count: usize| (0..count).map(|n| descriptor(n.to_string())).collect();
    let over = ask(&bed, "edge", many(1000)).await.unwrap();
    assert_eq!(over.overall_code(), Over::OverLimit);
    assert_eq!(over.statuses.len(), 1000);
    let all = ask(&bed, "edge", many(600)).await.unwrap();
    assert_eq!(all.overall_code(), Over::Ok);
    let over = ask(&bed, "edge", many(1)).await.unwrap();
    assert_eq!(over.overall_code(), Over::OverLimit);
}

#[tokio::test]
async fn unknown_domains_and_descriptors_pass() {
    let bed = Bed::start(LIMITS).await;
    let other = RateLimitDescriptor::default();
    for (domain, descriptors) in [
        ("other", vec![descriptor("1".to_owned())]),
        ("edge", vec![other.clone(), other]),
        ("\u{0}é", vec![descriptor(String::new())]),
    ] {
        let count = descriptors.len();
        let answer = ask(&bed, domain, descriptors).await.unwrap();
        assert_eq!(answer.overall_code(), Over::Ok);
        assert_eq!(answer.statuses.len(), count);
        for status in answer.statuses {
            assert_eq!((status.code(), status.current_limit), (Over::Ok, None));
        }
    }
}

#[tokio::test]
async fn rules_change_with_the_policy_set_and_a_rule_keeps_its_counts() {
    let bed = Bed::start(LIMITS).await;
    let one = || vec![descriptor("1".to_owned())];
    let left = async |expected: Option<u32>| {
        let answer = ask(&bed, "edge", one()).await.unwrap();
        let status = &answer.statuses[0];
        let left = status
            .current_limit
            .as_ref()
            .map(|_| status.limit_remaining);
        assert_eq!(left, expected);
    };
    left(Some(599)).await;
    bed.set("[policy.all]\nlimit = \"600/hour\"");
    left(None).await;
    bed.set(LIMITS);
    left(Some(598)).await;
}
