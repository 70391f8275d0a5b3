//! One other host: its queue, its connections, what is told of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_types::HostId;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::config::Limits;
use crate::counters::Counter;
use crate::event::PeerStatus;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::wire::Code;

/// Messages to one peer that are on the way at once.
const IN_FLIGHT_MAX: usize = 8;

/// Everything about one host.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) host: HostId,
    pub(crate) outbox: Outbox,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) dropped: Counter,
    /// Held while connections change and the change is told, so that events stand in the order of the changes.
    pub(crate) turn: tokio::sync::Mutex<()>,
    current: watch::Sender<Option<Arc<Link>>>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Where to dial.
    addresses: Vec<SocketAddr>,
    /// Where it was last reached.
    reached: Option<SocketAddr>,
    last_error: Option<String>,
    /// All connections that are still read, retired ones included.
    links: Vec<Arc<Link>>,
    courier: Option<AbortHandle>,
}

impl Peer {
    fn new(host: HostId, limits: &Limits) -> Self {
        Self {
            host,
            outbox: Outbox::new(limits.outbox_parcels, limits.outbox_bytes),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            dropped: Counter::default(),
            turn: tokio::sync::Mutex::default(),
            current: watch::Sender::new(None),
            notes: Mutex::default(),
        }
    }

    /// The connection to send on.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.current.borrow().clone().filter(|link| !link.is_over())
    }

    /// Waits for a connection to send on.
    pub(crate) async fn linked(&self) -> Arc<Link> {
        let mut current = self.current.subscribe();
        loop {
            if let Some(link) = self.link() {
                return link;
            }
            if current.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes a connection on the books the one to send on.
    pub(crate) fn promote(&self, link: &Arc<Link>) {
        let mut notes = self.notes();
        notes.reached = Some(link.address());
        notes.last_error = None;
        drop(notes);
        self.current.send_replace(Some(link.clone()));
    }

    /// Puts a connection on the books.
    pub(crate) fn add(&self, link: &Arc<Link>) {
        self.notes().links.push(link.clone());
    }

    /// Takes a connection off the books; whether it was the one to send on.
    pub(crate) fn remove(&self, link: &Arc<Link>, why: &str) -> bool {
        let mut notes = self.notes();
        notes.links.retain(|it| !Arc::ptr_eq(it, link));
        let was_current = self.current.send_if_modified(|current| {
            let is_it = current.as_ref().is_some_and(|it| Arc::ptr_eq(it, link));
            if is_it {
                *current = None;
            }
            is_it
        });
        if was_current {
            notes.last_error = Some(why.to_owned());
        }
        was_current
    }

    /// The connection to send on, dead or alive.
    pub(crate) fn present(&self) -> Option<Arc<Link>> {
        self.current.borrow().clone()
    }

    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.notes().links.clone()
    }

    pub(crate) fn close_links(&self, code: Code, why: &str) {
        for link in self.links() {
            link.close(code, why);
        }
    }

    pub(crate) fn learn(&self, addresses: &[SocketAddr]) {
        if !addresses.is_empty() {
            self.notes().addresses = addresses.to_vec();
        }
    }

    /// Where to dial; where it was last reached comes first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let notes = self.notes();
        let mut addresses = notes.addresses.clone();
        addresses.sort_by_key(|address| Some(*address) != notes.reached);
        addresses
    }

    pub(crate) fn failed(&self, why: String) {
        self.notes().last_error = Some(why);
    }

    pub(crate) fn status(&self) -> PeerStatus {
        let link = self.link();
        let notes = self.notes();
        let stats = link.as_ref().map(|link| link.connection.stats());
        PeerStatus {
            host: self.host,
            address: notes.reached.or_else(|| notes.addresses.first().copied()),
            connected: link.is_some(),
            since: link.as_ref().map(|link| link.since),
            rtt: link.as_ref().map(|link| link.connection.rtt()),
            sent_bytes: stats.map_or(0, |stats| stats.udp_tx.bytes),
            received_bytes: stats.map_or(0, |stats| stats.udp_rx.bytes),
            dropped: self.dropped.get(),
            last_error: notes.last_error.clone(),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All other hosts.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<BTreeMap<HostId, Arc<Peer>>>);

impl Peers {
    pub(crate) fn find(&self, host: HostId) -> Option<Arc<Peer>> {
        self.table().get(&host).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.table().values().cloned().collect()
    }

    /// Finds a peer or makes it; `hire` starts its courier.
    pub(crate) fn enter(
        &self,
        host: HostId,
        limits: &Limits,
        hire: impl FnOnce(Arc<Peer>) -> AbortHandle,
    ) -> Arc<Peer> {
        let mut table = self.table();
        let make = || {
            let peer = Arc::new(Peer::new(host, limits));
            let courier = hire(peer.clone());
            peer.notes().courier = Some(courier);
            peer
        };
        table.entry(host).or_insert_with(make).clone()
    }

    /// Closes all connections of a peer and drops what waits for it.
    pub(crate) fn dismiss(&self, host: HostId, code: Code, why: &str) {
        let Some(peer) = self.table().remove(&host) else { return };
        peer.close_links(code, why);
        if let Some(courier) = peer.notes().courier.take() {
            courier.abort();
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<HostId, Arc<Peer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
