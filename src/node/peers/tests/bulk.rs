//! Bulk streams: chunks come over whole and in order, and a transfer that is cut off says so.

use super::{PeerEvent, TestNode, couple};
use crate::node::peers::{BulkError, BulkSender, Fetcher};
use crate::protocol::bulk::{BulkChunk, BulkRequest, WireRow};
use crate::transport::certs::Authority;
use crate::types::NodeId;

async fn asked(node: &mut TestNode) -> (BulkRequest, BulkSender) {
    match node.event().await {
        PeerEvent::Bulk {
            from,
            request,
            chunks,
        } => {
            assert_eq!(from, NodeId(2));
            (request, chunks)
        }
        other => panic!("{other:?}"),
    }
}

async fn fetcher(node: &mut TestNode) -> Fetcher {
    node.tell(|net| net.fetcher()).await
}

#[tokio::test]
async fn megabytes_come_over_whole_and_in_order_several_at_once() {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    let fetcher = fetcher(&mut two).await;
    let giving = async {
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let (request, mut chunks) = asked(&mut one).await;
            assert_eq!(request, BulkRequest::Policies);
            tasks.push(tokio::spawn(async move {
                for slot in 0..8 {
                    let bytes = vec![u8::try_from(slot).unwrap(); 1000];
                    let row = |id| WireRow { id, bytes: &bytes };
                    let rows = (0..1000).map(row).collect();
                    chunks.send(&BulkChunk::Rows { slot, rows }).await.unwrap();
                }
                assert!(chunks.sent_bytes() > 8_000_000);
                chunks.finish(&BulkChunk::End).await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    };
    let take = || async {
        let request = BulkRequest::Policies;
        let mut reader = fetcher.fetch(NodeId(1), &request).await.unwrap();
        for expected in 0..8 {
            match reader.next().await.unwrap() {
                Some(BulkChunk::Rows { slot, rows }) => {
                    assert_eq!((slot, rows.len()), (expected, 1000));
                    assert_eq!(rows[999].id, 999);
                    assert_eq!(usize::from(rows[7].bytes[999]), usize::from(expected));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.next().await.unwrap(), Some(BulkChunk::End));
        assert_eq!(reader.next().await.unwrap(), None);
        assert!(reader.received_bytes() > 8_000_000);
    };
    tokio::join!(giving, take(), take(), take());
}

#[tokio::test]
async fn a_transfer_that_is_dropped_is_cut_off() {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    let fetcher = fetcher(&mut two).await;
    let giving = async {
        let (_, mut chunks) = asked(&mut one).await;
        chunks.send(&BulkChunk::Policies(b"half")).await.unwrap();
        drop(chunks);
    };
    let taking = async {
        let mut reader = fetcher
            .fetch(NodeId(1), &BulkRequest::Policies)
            .await
            .unwrap();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => assert_eq!(chunk, BulkChunk::Policies(b"half")),
                Ok(None) => panic!("it looks whole"),
                Err(error) => break error,
            }
        }
    };
    let (error, ()) = tokio::join!(taking, giving);
    assert!(matches!(error, BulkError::CutOff), "{error:?}");

    let nobody = fetcher.fetch(NodeId(9), &BulkRequest::Policies).await;
    assert!(matches!(nobody, Err(BulkError::Unknown { .. })));
}
