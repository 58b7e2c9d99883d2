use super::*;
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::server::Carried;

const COLD: &str = "10:cold";

fn chilled() -> Cluster {
    let cluster = Cluster::with_owners(1, Waits::default());
    cluster.node(1).toy.chill(COLD);
    cluster
}

#[tokio::test]
async fn a_check_that_must_be_read_for_holds_up_no_other() {
    let cluster = chilled();
    let one = cluster.node(1);
    for mode in [Mode::Count, Mode::Look] {
        one.toy.chill(COLD);
        let asks = [ask("free", COLD), ask("held", COLD)];
        let cold = one.decide_all(&asks, mode, LONG, Via::Caller);
        // All on one thread, as the streams of a worker are.
        let other = async {
            tokio::task::yield_now().await;
            let warm = one.decide(&["10:warm"], LONG, Via::Caller).await;
            assert_eq!(warm, [granted("10:warm", WireSource::Owner)]);
            one.toy.let_read();
            one.toy.release();
        };
        let (answers, ()) = tokio::join!(cold, other);
        let expected = granted(COLD, WireSource::Owner);
        assert_eq!(answers, [expected.clone(), expected]);
    }
    assert_eq!(one.toy.counted(COLD), 2, "each once, and no peek");
}

#[tokio::test]
async fn a_read_that_takes_too_long_ends_by_the_deadline() {
    let cluster = chilled();
    let one = cluster.node(1);
    let answers = one
        .decide(&[COLD], Duration::from_millis(5), Via::Caller)
        .await;
    assert_eq!(answers, [Err(WireError::AnswerLost)]);
    one.toy.let_read();
}

#[tokio::test]
async fn a_command_that_must_be_read_for_is_carried_out_once() {
    let cluster = chilled();
    let one = cluster.node(1);
    let refund = RequestBody::Refund {
        target: ask("free", COLD).target,
        at_ms: 1,
        cost: 3,
    };
    let Carried::Later(task) = Service::command(&one.clustered, &refund, LONG, Via::Caller) else {
        panic!("it was carried out at once");
    };
    let open = async {
        tokio::task::yield_now().await;
        assert_eq!(one.toy.counted("refund"), 0);
        one.toy.let_read();
    };
    let (answer, ()) = tokio::join!(task, open);
    assert_eq!(answer, ResponseBody::Refunded { permits: 3 });
    assert_eq!(one.toy.counted("refund"), 1);
}
