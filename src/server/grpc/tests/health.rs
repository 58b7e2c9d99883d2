//! gRPC's health service as the node starts and drains.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Bed;

#[tokio::test]
async fn health_turns_red_when_the_node_drains() {
    let bed = Bed::start("").await;
    let mut client = HealthClient::new(bed.channel());
    let request = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let rls = "envoy.service.ratelimit.v3.RateLimitService";
    for service in ["", rls, "pb.gubernator.V1"] {
        let answer = client.check(request(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = client.check(request("other")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watched = client.watch(request(rls)).await.unwrap().into_inner();
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    bed.ready.send_replace(false);
    let next = watched.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    let answer = client.check(request("")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);

    let mut unknown = client.watch(request("other")).await.unwrap().into_inner();
    let first = unknown.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}
