//! What the command line's door says and understands.

use super::toy::{Toy, credentials, granted};
use crate::client::{CheckError, NodeCommand, Owner, PolicyFile, PolicyLine, Ring, Status};
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{self, ADMIN_ANSWER_BYTES_MAX};
use crate::transport::Role;

/// What the node answers about the cluster and its policies.
fn cluster_answer(request: &AdminRequest<'_>) -> AdminResponse {
    match request {
        AdminRequest::Ring => AdminResponse::Ring(Box::new(Ring {
            node: 3,
            ..Ring::default()
        })),
        AdminRequest::Owner(key) => AdminResponse::Owner(Owner {
            slot: if *key == "user" { 11 } else { 0 },
            ..Owner::default()
        }),
        AdminRequest::Node(command) => {
            assert_eq!(*command, NodeCommand::Remove { node: 4 });
            AdminResponse::Done
        }
        AdminRequest::PolicyFile => AdminResponse::PolicyFile(PolicyFile {
            version: 1,
            ..PolicyFile::default()
        }),
        AdminRequest::PolicyApply(text) => AdminResponse::Applied(PolicyFile {
            version: 2,
            text: (*text).to_owned(),
            ..PolicyFile::default()
        }),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_admin_asks_each_request_on_a_stream_of_its_own() {
    let toy = Toy::start();
    let admin = toy.client().tls(credentials(&toy.authority, Role::Admin));
    let (admin, peer) = tokio::join!(admin.connect_admin(), toy.greet());
    let admin = admin.unwrap();
    let lines: Vec<PolicyLine> = (0..5000)
        .map(|n| PolicyLine {
            name: format!("policy-{n}"),
            limits: vec!["100/min".to_owned()],
            on_failure: "deny".to_owned(),
            durability: "process".to_owned(),
            shadow: false,
            overrides: 0,
            carried: false,
        })
        .collect();
    let expected = lines.clone();
    let calls = async {
        let policies = admin.policies().await.unwrap();
        assert_eq!(policies, expected);
        let status = admin.status().await.unwrap();
        assert_eq!(status.checks, 7);
        let decision = admin.check(("api", "user", 5)).await.unwrap();
        assert_eq!((decision.remaining, decision.grant.unwrap().cost), (5, 5));
        let error = admin.reset("api", "user").await.unwrap_err();
        let expected = CheckError::Refused(WireError::StorageFailed);
        assert_eq!(error.to_string(), expected.to_string());
        let error = admin.inspect("api", "user").await.unwrap_err();
        assert!(matches!(error, CheckError::UnexpectedAnswer), "{error:?}");
        assert_eq!(admin.ring().await.unwrap().node, 3);
        assert_eq!(admin.owner("user").await.unwrap().slot, 11);
        let error = admin.owner("").await.unwrap_err();
        assert!(matches!(error, CheckError::Key(_)), "{error:?}");
        admin.node(NodeCommand::Remove { node: 4 }).await.unwrap();
        assert_eq!(admin.policy_file().await.unwrap().version, 1);
        let long = "# limits\n".repeat(20_000);
        let applied = admin.policy_apply(&long).await.unwrap();
        assert_eq!((applied.version, applied.text), (2, long));
    };
    let script = async {
        for _ in 0..10 {
            let (mut send, mut recv) = peer.connection.accept_bi().await.unwrap();
            let asked = recv.read_to_end(1 << 20).await.unwrap();
            let answer = match frame::decode(&asked[4..]).unwrap() {
                AdminRequest::Policies => AdminResponse::Policies(lines.clone()),
                AdminRequest::Status => AdminResponse::Status(Box::new(Status {
                    checks: 7,
                    ..Status::default()
                })),
                AdminRequest::Client(RequestBody::Check(asks)) => {
                    let answers = asks.iter().map(|ask| Ok(granted(ask.cost))).collect();
                    AdminResponse::Client(ResponseBody::Decisions(answers))
                }
                AdminRequest::Client(_) => {
                    AdminResponse::Client(ResponseBody::Failed(WireError::StorageFailed))
                }
                AdminRequest::Inspect(_) => AdminResponse::Client(ResponseBody::Done),
                other => cluster_answer(&other),
            };
            let mut bytes = Vec::new();
            frame::encode_within(ADMIN_ANSWER_BYTES_MAX, &answer, &mut bytes).unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
        }
    };
    tokio::join!(calls, script);
}

#[tokio::test]
async fn an_admin_whose_node_is_gone_is_told_so() {
    let toy = Toy::start();
    let (admin, peer) = tokio::join!(toy.client().connect_admin(), toy.greet());
    let admin = admin.unwrap();
    peer.close();
    let error = admin.status().await.unwrap_err();
    assert!(matches!(error, CheckError::ConnectionLost), "{error:?}");
}
