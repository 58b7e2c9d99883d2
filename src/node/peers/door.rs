//! Takes in what other nodes dial. Runs on the workers' runtimes, one future for each connection.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::admission::{Admission, Known};
use super::bulk::BulkSender;
use super::counts::{Refused, add};
use super::event::PeerEvent;
use super::link::{LinkDoor, VisitingLink};
use super::session::Arrival;
use crate::protocol::bulk::{BULK_FRAME_BYTES_MAX, BulkRequest};
use crate::protocol::frame::{FRAME_BYTES_MAX, FrameBuffer, decode, encode};
use crate::protocol::peer::{PeerAnswer, PeerFrame, PeerHello, PeerRefusal, Purpose};
use crate::server::{PeerDoor, Stranger, Visit, Visited, Visitor};
use crate::transport::CloseCode;
use crate::transport::endpoint::widen_for_peer;
use crate::transport::tls::certificate_name;
use crate::types::NodeId;

/// How long a connection may stay without a hello, and a bulk stream without its request.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long the other node may take to read why it is refused.
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Door {
    admission: Arc<Admission>,
    arrivals: mpsc::Sender<Arrival>,
    /// Where links go; none until [`Door::open_to_links`].
    links: OnceLock<Arc<dyn LinkDoor>>,
}

/// A stream on which frames arrive.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: RecvStream,
    pub(super) buffer: FrameBuffer,
}

/// Why no frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoFrame {
    /// The stream or connection ended.
    Gone,
    /// The bytes are no frame of the protocol.
    Bad,
}

impl Incoming {
    /// The next frame. Cancel safe.
    async fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, NoFrame> {
        loop {
            if let Some(body) = self.buffer.take().map_err(|_too_large| NoFrame::Bad)? {
                return decode(body).map_err(|_garbled| NoFrame::Bad);
            }
            let piece = self.stream.read_chunk(FRAME_BYTES_MAX, true).await;
            let piece = piece.ok().flatten().ok_or(NoFrame::Gone)?;
            self.buffer.push(&piece.bytes);
        }
    }
}

impl PeerDoor for Door {
    fn visit<'a>(&'a self, connection: &'a Connection) -> Visit<'a> {
        Box::pin(self.show_in(connection))
    }

    fn stranger(&self, address: SocketAddr, why: Stranger) {
        let (why, reason) = match why {
            Stranger::Handshake => (
                Refused::Handshake,
                "the handshake failed; is its certificate of the cluster's authority?",
            ),
            Stranger::Role => (
                Refused::Role,
                "the certificate's role may not speak this protocol",
            ),
        };
        self.admission.counters.refused(why, &address, reason);
    }
}

impl Door {
    pub(super) const fn new(admission: Arc<Admission>, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self {
            admission,
            arrivals,
            links: OnceLock::new(),
        }
    }

    /// Takes links from now on. Only the first call counts.
    pub(crate) fn open_to_links(&self, links: Arc<dyn LinkDoor>) {
        self.links.get_or_init(|| links);
    }

    async fn show_in(&self, connection: &Connection) -> Visited {
        let greeted = timeout(HELLO_WAIT_MAX, self.greet(connection)).await;
        let (known, purpose, send, incoming) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(code)) => return Visited::Over(Some(code)),
            Err(_late) => return Visited::Over(Some(CloseCode::NoHello)),
        };
        let code = match purpose {
            Purpose::Requests => {
                return Visited::Requests(Visitor {
                    from: known.identity.node,
                    greeted: (send, incoming.stream, incoming.buffer),
                });
            }
            Purpose::Join => {
                // The node closes when it has read the welcome.
                drop(timeout(HELLO_WAIT_MAX, connection.closed()).await);
                Some(CloseCode::Done)
            }
            Purpose::Control => self.listen(connection, known, incoming).await,
            Purpose::Bulk => self.transfer(connection, &known).await,
            Purpose::Replicate => match self.links.get() {
                Some(links) => {
                    let number = self.admission.number();
                    let peer = known.identity;
                    let link = VisitingLink::new(connection, (number, peer), send, incoming);
                    links.carry(link).await
                }
                None => Some(CloseCode::Done),
            },
        };
        Visited::Over(code)
    }

    /// Hears the hello and answers it.
    async fn greet(
        &self,
        connection: &Connection,
    ) -> Result<(Known, Purpose, SendStream, Incoming), CloseCode> {
        let accepted = connection.accept_bi().await;
        let (mut send, stream) = accepted.map_err(|_gone| CloseCode::Done)?;
        let mut incoming = Incoming {
            stream,
            buffer: FrameBuffer::default(),
        };
        let mut ours = false;
        let admitted = match incoming.next::<PeerHello>().await {
            Ok(hello) => {
                ours = self.admission.is_own_introduction(&hello);
                let admitted = self.admission.admit(&hello, certificate_name(connection));
                admitted.map(|(known, version)| (known, hello.purpose, version))
            }
            Err(NoFrame::Bad) => Err(PeerRefusal::Malformed {
                reason: "the first frame must be a hello".to_owned(),
            }),
            Err(NoFrame::Gone) => return Err(CloseCode::NoHello),
        };
        match admitted {
            Ok((known, purpose, version)) => {
                let welcome = self.admission.own.welcome(version, purpose);
                answer(&mut send, &Ok(welcome)).await?;
                Ok((known, purpose, send, incoming))
            }
            Err(refusal) => {
                if !ours {
                    let peer = connection.remote_address();
                    self.admission.refused(&peer, &refusal);
                }
                answer(&mut send, &Err(refusal)).await?;
                // Closing at once would overtake the answer.
                if send.finish().is_ok() {
                    drop(timeout(REFUSAL_WAIT_MAX, send.stopped()).await);
                }
                Err(CloseCode::NotAdmitted)
            }
        }
    }

    /// Passes on all that a node says on its control connection.
    async fn listen(
        &self,
        connection: &Connection,
        known: Known,
        mut incoming: Incoming,
    ) -> Option<CloseCode> {
        let number = self.admission.number();
        let from = known.identity.node;
        let _open = self.admission.enter(&known);
        let begun = Arrival::Incoming {
            number,
            known,
            connection: connection.clone(),
        };
        self.pass(begun).await?;
        let code = loop {
            // Both arms are cancel safe.
            tokio::select! {
                frame = incoming.next::<PeerFrame>() => match frame {
                    Ok(frame) => {
                        add(&self.admission.counters.frames_received);
                        self.pass(Arrival::Frame { number, from, frame }).await?;
                    }
                    Err(NoFrame::Gone) => break None,
                    Err(NoFrame::Bad) => {
                        let peer = connection.remote_address();
                        let reason = "a frame that cannot be read";
                        self.admission.counters.refused(Refused::Malformed, &peer, reason);
                        break Some(CloseCode::BadFrame);
                    }
                },
                datagram = connection.read_datagram() => match datagram {
                    Ok(bytes) => self.pass_datagram(from, bytes.to_vec()),
                    Err(_gone) => break None,
                },
            }
        };
        self.pass(Arrival::IncomingGone { number, from }).await?;
        code
    }

    /// Passes something on; waits while the queue is full. `None` if the node stops.
    async fn pass(&self, arrival: Arrival) -> Option<()> {
        self.arrivals.send(arrival).await.ok()
    }

    /// Gossip is dropped rather than waited for.
    fn pass_datagram(&self, from: NodeId, bytes: Vec<u8>) {
        let counters = &self.admission.counters;
        add(&counters.datagrams_received);
        if self
            .arrivals
            .try_send(Arrival::Event(PeerEvent::Datagram { from, bytes }))
            .is_err()
        {
            add(&counters.datagrams_dropped);
        }
    }

    /// Takes requests for bulk, each on a stream of its own, until the other side has all it wants.
    async fn transfer(&self, connection: &Connection, known: &Known) -> Option<CloseCode> {
        widen_for_peer(connection);
        while let Ok((send, stream)) = connection.accept_bi().await {
            let mut incoming = Incoming {
                stream,
                buffer: FrameBuffer::with_max(BULK_FRAME_BYTES_MAX),
            };
            let request = timeout(HELLO_WAIT_MAX, incoming.next::<BulkRequest>()).await;
            let Ok(Ok(request)) = request else {
                let peer = connection.remote_address();
                let reason = "a bulk request that cannot be read";
                let counters = &self.admission.counters;
                counters.refused(Refused::Malformed, &peer, reason);
                return Some(CloseCode::BadFrame);
            };
            let event = PeerEvent::Bulk {
                from: known.identity.node,
                request,
                chunks: BulkSender::new(send),
            };
            self.pass(Arrival::Event(event)).await?;
        }
        None
    }
}

async fn answer(send: &mut SendStream, answer: &PeerAnswer) -> Result<(), CloseCode> {
    let mut frame = Vec::new();
    encode(answer, &mut frame).map_err(|_too_long| CloseCode::Interrupted)?;
    let written = send.write_all(&frame).await;
    written.map_err(|_gone| CloseCode::Done)
}
