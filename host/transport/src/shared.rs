//! What all tasks of a transport share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, Endpoint};
use shoal_ports::Clock;
use shoal_trust::{Certificate, TrustView};
use shoal_types::HostId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use crate::bucket::Bucket;
use crate::config::{Config, MESSAGE_BYTES_MAX, Member};
use crate::counters::Counting;
use crate::courier;
use crate::endpoint;
use crate::event::Event;
use crate::link::{Link, ending};
use crate::outbox::{Kind, Parcel};
use crate::peer::{Peer, Peers};
use crate::reader;
use crate::relay::Relay;
use crate::socket::{self, TransportError, plain};
use crate::wire::{Code, Hello};

/// Events that may wait for the owner.
const EVENTS_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) id: HostId,
    /// Drawn at random at the start; see [`Hello::session`].
    pub(crate) session: u64,
    pub(crate) clock: ClockHandle,
    pub(crate) endpoint: Endpoint,
    /// How connections are dialled, and how much less often than the limits say they are probed.
    dialling: RwLock<(u32, quinn::ClientConfig)>,
    pub(crate) local_addr: SocketAddr,
    pub(crate) peers: Peers,
    pub(crate) counters: Counting,
    /// One permit for every stranger that is being heard.
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) joins: Mutex<Bucket>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Not before [`Transport::open_relay`](crate::Transport::open_relay).
    pub(crate) relay: OnceLock<Arc<Relay>>,
    standing: RwLock<Standing>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// This host's place in its fabric.
#[derive(Debug, Clone, Default)]
struct Standing {
    member: Option<Arc<Member>>,
    view: Option<Arc<TrustView>>,
}

/// The clock; a wrapper, because a clock need not be `Debug`.
pub(crate) struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl std::ops::Deref for ClockHandle {
    type Target = dyn Clock;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Shared {
    pub(crate) fn start(
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Event>), TransportError> {
        let socket = socket::open(config.listen)?;
        let refused = |error| TransportError::Listen { address: config.listen, error };
        let local_addr = socket.local_addr().map_err(refused)?;
        let (endpoint, client) = endpoint::open(&config, socket)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Self {
            id: config.key.id(),
            session: endpoint::random()?,
            joins: Mutex::new(Bucket::full(config.limits.joins_burst, clock.now())),
            clock: ClockHandle(clock),
            endpoint,
            dialling: RwLock::new((1, client)),
            local_addr,
            peers: Peers::default(),
            counters: Counting::default(),
            strangers: Arc::new(Semaphore::new(config.limits.strangers_max)),
            events,
            relay: OnceLock::new(),
            standing: RwLock::default(),
            tasks: Mutex::default(),
            config,
        };
        Ok((Arc::new(shared), receiver))
    }

    /// Remembers a task, to end it when the transport stops.
    pub(crate) fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
        drop(task);
    }

    pub(crate) fn stop(&self, why: &str) {
        self.stop_tasks();
        self.dismiss_all(Code::Bye, why);
        self.endpoint.close(Code::Bye.number(), why.as_bytes());
    }

    pub(crate) fn stop_tasks(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// This host's place, if it has one: the member and what it goes by.
    pub(crate) fn place(&self) -> Option<(Arc<Member>, Arc<TrustView>)> {
        let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner).clone();
        standing.member.zip(standing.view)
    }

    pub(crate) fn set_membership(&self, member: Option<Member>) {
        let is_out = member.is_none();
        self.standing.write().unwrap_or_else(PoisonError::into_inner).member = member.map(Arc::new);
        if is_out {
            self.dismiss_all(Code::Bye, "the host there left its fabric");
        }
    }

    /// Puts a renewed certificate in the place of `old`; not if the host has left, or joined anew, in the meantime.
    pub(crate) fn renew(&self, old: &Certificate, new: &Certificate) -> bool {
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        let present = standing.member.as_ref().filter(|member| member.certificate == *old);
        let Some(root) = present.map(|member| member.root.clone()) else { return false };
        standing.member = Some(Arc::new(Member { certificate: new.clone(), root }));
        true
    }

    /// The view is in force before the connections are looked through, and [`admit`](Self::admit) puts a connection
    /// on the books before it judges it for the last time: so none slips between the two.
    pub(crate) fn set_trust(&self, mut view: TrustView) {
        // Certificates that this host issues are good here before its own facts have come back to it.
        view.members.insert(self.id, self.config.key.public());
        self.set_pace(view.members.len());
        let forgotten = view.forgotten.clone();
        self.standing.write().unwrap_or_else(PoisonError::into_inner).view = Some(Arc::new(view));
        self.judge_links();
        for host in forgotten {
            self.peers.dismiss(host, Code::Bye, "it was forgotten");
        }
    }

    /// How a connection is dialled.
    pub(crate) fn dialling(&self) -> quinn::ClientConfig {
        self.dialling.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Fits new connections to the number of hosts.
    fn set_pace(&self, hosts: usize) {
        let slower = endpoint::slower_among(hosts);
        let mut dialling = self.dialling.write().unwrap_or_else(PoisonError::into_inner);
        if dialling.0 == slower {
            return;
        }
        // The same keys made the same ends at the start.
        if let Ok((server, client)) = endpoint::ends(&self.config, slower) {
            self.endpoint.set_server_config(Some(server));
            *dialling = (slower, client);
        }
    }

    /// Closes every connection whose certificate is no longer good.
    pub(crate) fn judge_links(&self) {
        for link in self.peers.all().iter().flat_map(|peer| peer.links()) {
            if let Err(sentence) = self.judge(&link.certificate()) {
                link.close(Code::Refused, &sentence);
            }
        }
    }

    /// Whether a certificate is good here and now; else a sentence.
    pub(crate) fn judge(&self, certificate: &Certificate) -> Result<(), String> {
        let (_, view) = self.place().ok_or("the host that was dialled is in no fabric")?;
        view.judge(certificate, self.clock.wall()).map_err(|distrust| distrust.to_string())
    }

    pub(crate) fn hello(&self) -> Option<Hello> {
        let (member, _) = self.place()?;
        Some(Hello { certificate: member.certificate.encode(), session: self.session })
    }

    pub(crate) fn peer(self: &Arc<Self>, host: HostId) -> Arc<Peer> {
        self.peers.enter(host, &self.config.limits, |peer| {
            tokio::spawn(courier::run(self.clone(), peer)).abort_handle()
        })
    }

    pub(crate) fn send(self: &Arc<Self>, to: HostId, addresses: &[SocketAddr], parcel: Parcel) {
        let is_welcome = |view: &TrustView| to != self.id && !view.forgotten.contains(&to);
        if !self.place().is_some_and(|(_, view)| is_welcome(&view)) {
            return self.counters.parcels_dropped.one();
        }
        let peer = self.peer(to);
        peer.learn(addresses);
        if parcel.kind != Kind::Message && peer.link().is_some_and(|link| send_packet(&link, &parcel)) {
            return;
        }
        if parcel.bytes.len() > MESSAGE_BYTES_MAX || !peer.outbox.push(parcel) {
            peer.dropped.one();
            self.counters.parcels_dropped.one();
        }
    }

    /// Takes a connection on which both hellos were accepted into use, or refuses it with a sentence.
    pub(crate) async fn admit(self: &Arc<Self>, link: Link) -> Result<(), String> {
        let (peer, link) = (self.peer(link.host), Arc::new(link));
        let turn = peer.turn.lock().await;
        let present = peer.present();
        let stays = present.as_ref().is_none_or(|present| link.outranks(present));
        peer.add(&link);
        if let Err(sentence) = self.judge(&link.certificate()) {
            peer.remove(&link, &sentence);
            return Err(self.refuse(&link.connection, Some(link.host), sentence));
        }
        if stays {
            peer.promote(&link);
            self.tell_change(present.as_ref(), &link).await;
        }
        if let Some(loser) = if stays { present } else { Some(link.clone()) } {
            self.retire(loser);
        }
        drop(turn);
        tokio::spawn(reader::run(self.clone(), peer, link));
        Ok(())
    }

    /// Closes a connection with a stranger and tells both sides why.
    pub(crate) fn refuse(&self, connection: &Connection, host: Option<HostId>, sentence: String) -> String {
        connection.close(Code::Refused.number(), sentence.as_bytes());
        self.tell_refusal(connection, host, sentence.clone(), true);
        sentence
    }

    /// Reads why a connection with a stranger ended, and tells it if it is a refusal.
    pub(crate) fn mourn(&self, connection: &Connection, host: Option<HostId>) -> Option<String> {
        let ending = ending(&connection.close_reason()?);
        if ending.refused_by_us == Some(false) {
            self.tell_refusal(connection, host, ending.why.clone(), false);
        }
        Some(ending.why)
    }

    pub(crate) fn tell_refusal(
        &self,
        connection: &Connection,
        host: Option<HostId>,
        sentence: String,
        by_us: bool,
    ) {
        if by_us {
            self.counters.refused.one();
        }
        let address = plain(connection.remote_address());
        self.try_tell(Event::Refused { address, host, sentence, by_us });
    }

    /// Tells what strangers can cause: it must never wait.
    pub(crate) fn try_tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.counters.events_dropped.one();
        }
    }

    /// Tells what the owner must not miss; waits for room.
    pub(crate) async fn tell(&self, event: Event) {
        // An owner that has dropped its receiver wants to know nothing.
        let _ = self.events.send(event).await;
    }

    async fn tell_change(&self, before: Option<&Arc<Link>>, link: &Link) {
        if let Some(before) = before {
            let has_restarted = before.session != link.session;
            if !has_restarted && !before.is_over() {
                return;
            }
            let why = if has_restarted { "it restarted" } else { "it dialled again" };
            self.tell(Event::Disconnected { host: link.host, why: why.to_owned() }).await;
        }
        let (host, address, certificate) = (link.host, link.address(), link.certificate());
        self.tell(Event::Connected { host, address, certificate }).await;
    }

    /// Reads a connection that lost against another for a little longer, so that what is under way on it arrives.
    fn retire(&self, link: Arc<Link>) {
        let after = self.config.limits.retire_after;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            link.close(Code::Bye, "another connection to this host is in use");
        });
    }

    fn dismiss_all(&self, code: Code, why: &str) {
        for peer in self.peers.all() {
            self.peers.dismiss(peer.host, code, why);
        }
    }
}

/// Sends a parcel as a packet; whether the path could take it.
pub(crate) fn send_packet(link: &Link, parcel: &Parcel) -> bool {
    let mut bytes = BytesMut::with_capacity(1 + parcel.bytes.len());
    bytes.put_u8(parcel.kind.byte());
    bytes.put_slice(&parcel.bytes);
    send_bytes(link, bytes.freeze())
}

/// Sends a packet that begins with its kind; whether the path could take it.
pub(crate) fn send_bytes(link: &Link, bytes: Bytes) -> bool {
    let fits = link.connection.max_datagram_size().is_some_and(|max| bytes.len() <= max);
    fits && link.connection.send_datagram(bytes).is_ok()
}
