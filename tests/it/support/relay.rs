//! A stretch of network in front of a node that a test can cut, in one direction or both, for each
//! other node by itself.
//!
//! A node listens on an address of its own of the loopback range and advertises its relay's. All
//! others reach it through the relay, which tells them apart by the address they send from.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Longest packet that is passed on.
const PACKET_BYTES_MAX: usize = 65_536;

/// How often a relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// A link on which the node has said nothing for so many looks, a minute, is given up: whoever comes
/// again gets another one.
const SILENT_LOOKS_MAX: u32 = 1200;

/// See the module. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    behind: SocketAddr,
    cuts: Mutex<Vec<Cut>>,
    links: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    over: AtomicBool,
}

/// Packets that are not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Those from this address to the node.
    From(IpAddr),
    /// Those from the node to this address.
    To(IpAddr),
    /// All.
    All,
}

impl Relay {
    /// A relay on a free port of `ip`; the node behind it is named by [`Relay::put_before`].
    pub(crate) fn bind(ip: IpAddr, behind: SocketAddr) -> Self {
        let front = UdpSocket::bind((ip, 0)).unwrap();
        front.set_read_timeout(Some(LOOK)).unwrap();
        let shared = Arc::new(Shared {
            front,
            behind,
            cuts: Mutex::default(),
            links: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let inward = Arc::clone(&shared);
        std::thread::spawn(move || inward.carry_in());
        Self { shared }
    }

    /// Where the node is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.front.local_addr().unwrap()
    }

    /// Cuts these from now on, and nothing else.
    pub(crate) fn cut(&self, cuts: &[Cut]) {
        *self.shared.cuts.lock() = cuts.to_vec();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Carries packets to the node; each sender gets a socket of its own, by which the node answers.
    fn carry_in(self: &Arc<Self>) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        while !self.is_over() {
            let Ok((length, sender)) = self.front.recv_from(&mut packet) else {
                continue;
            };
            if self.is_cut(Cut::From(sender.ip())) {
                continue;
            }
            let link = self.link(sender);
            // What the system does not take is lost, as on any network.
            link.send(&packet[..length]).ok();
        }
    }

    fn link(self: &Arc<Self>, sender: SocketAddr) -> Arc<UdpSocket> {
        let mut links = self.links.lock();
        let link = links.entry(sender).or_insert_with(|| {
            let link = UdpSocket::bind((self.behind.ip(), 0)).unwrap();
            link.connect(self.behind).unwrap();
            link.set_read_timeout(Some(LOOK)).unwrap();
            let link = Arc::new(link);
            let (outward, of_thread) = (Arc::clone(self), Arc::clone(&link));
            std::thread::spawn(move || outward.carry_out(&of_thread, sender));
            link
        });
        Arc::clone(link)
    }

    fn carry_out(&self, link: &UdpSocket, sender: SocketAddr) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let mut silent_looks = 0;
        while !self.is_over() && silent_looks < SILENT_LOOKS_MAX {
            let Ok(length) = link.recv(&mut packet) else {
                silent_looks += 1;
                continue;
            };
            silent_looks = 0;
            if !self.is_cut(Cut::To(sender.ip())) {
                self.front.send_to(&packet[..length], sender).ok();
            }
        }
        self.links.lock().remove(&sender);
    }

    fn is_cut(&self, cut: Cut) -> bool {
        let cuts = self.cuts.lock();
        cuts.contains(&cut) || cuts.contains(&Cut::All)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
