//! Admin connections: a hello, then one request a stream.

use super::toy::decision;
use super::{Caller, Node, ask};
use crate::protocol::admin::{AdminRequest, AdminResponse, PolicyLine};
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{ADMIN_ANSWER_BYTES_MAX, FrameBuffer};
use crate::protocol::hello::ALPN_ADMIN;
use crate::server::Bounds;
use crate::transport::{CloseCode, Role};

async fn ask_admin(first: &Caller, request: &AdminRequest<'static>) -> AdminResponse {
    let mut caller = Caller::open(first.connection.clone()).await;
    caller.buffer = FrameBuffer::with_max(ADMIN_ANSWER_BYTES_MAX);
    caller.say(&[request]).await;
    caller.hear().await.unwrap()
}

async fn admin(node: &Node) -> Caller {
    let config = node.config(Role::Admin, ALPN_ADMIN);
    Caller::greet(node.try_connect(config).await.unwrap()).await
}

fn line(name: String) -> PolicyLine {
    PolicyLine {
        name,
        limits: vec!["100/min".to_owned()],
        on_failure: "deny".to_owned(),
        durability: "process".to_owned(),
        shadow: false,
        overrides: 0,
        carried: false,
    }
}

#[tokio::test]
async fn an_admin_asks_what_a_client_may_and_more() {
    let node = Node::start(Bounds::default());
    let first = admin(&node).await;
    let status = ask_admin(&first, &AdminRequest::Status).await;
    assert_eq!(status, AdminResponse::Status(Box::default()));

    let asks = vec![ask("process", "k"), ask("deny", "k")];
    let answer = |first| {
        let each = vec![first, Ok(decision(false, 1))];
        AdminResponse::Client(ResponseBody::Decisions(each))
    };
    let checked = AdminRequest::Client(RequestBody::Check(asks));
    assert_eq!(
        ask_admin(&first, &checked).await,
        answer(Ok(decision(true, 1)))
    );
    let target = ask("free", "k").target;
    let reset = AdminRequest::Client(RequestBody::Reset { target });
    let done = AdminResponse::Client(ResponseBody::Done);
    assert_eq!(ask_admin(&first, &reset).await, done);

    node.toy.keep(|kept| kept.failed = true);
    let lost = WireError::StorageFailed;
    assert_eq!(ask_admin(&first, &checked).await, answer(Err(lost.clone())));
    let lost = AdminResponse::Client(ResponseBody::Failed(lost));
    assert_eq!(ask_admin(&first, &reset).await, lost);
}

#[tokio::test]
async fn answers_may_be_long_but_not_endless() {
    let node = Node::start(Bounds::default());
    let first = admin(&node).await;
    let many: Vec<_> = (0..1024).map(|n| line(format!("{n:060}"))).collect();
    node.toy.policies.lock().clone_from(&many);
    let answer = ask_admin(&first, &AdminRequest::Policies).await;
    assert_eq!(answer, AdminResponse::Policies(many));

    let name = "x".repeat(ADMIN_ANSWER_BYTES_MAX);
    *node.toy.policies.lock() = vec![line(name)];
    let answer = ask_admin(&first, &AdminRequest::Policies).await;
    let failed = matches!(answer, AdminResponse::Failed(WireError::Malformed { .. }));
    assert!(failed, "{answer:?}");
}

#[tokio::test]
async fn what_is_no_admin_request_is_answered_or_reset() {
    let node = Node::start(Bounds::default());
    let first = admin(&node).await;
    let mut unknown = Caller::open(first.connection.clone()).await;
    unknown.send.write_all(&[1, 0, 0, 0, 99]).await.unwrap();
    let answer: AdminResponse = unknown.hear().await.unwrap();
    let malformed = matches!(answer, AdminResponse::Failed(WireError::Malformed { .. }));
    assert!(malformed, "{answer:?}");

    let mut endless = Caller::open(first.connection.clone()).await;
    endless.send.write_all(&[255; 4]).await.unwrap();
    let end = endless.hear::<AdminResponse>().await;
    assert_eq!(end, Err(Some(CloseCode::BadFrame)));
    let status = ask_admin(&first, &AdminRequest::Status).await;
    assert!(matches!(status, AdminResponse::Status(_)));
}
