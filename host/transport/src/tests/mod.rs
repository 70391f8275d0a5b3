//! Real sockets on loopback.

mod exchange;
mod joining;
mod lifetimes;
mod refusals;
mod relaying;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shoal_ports::{Clock, SystemClock};
use shoal_trust::{Certificate, Claim, FabricRoot, HostKey, Token, TrustView};
use shoal_types::{HostId, Moment, WallTime};
use tokio::sync::mpsc;

use crate::{Config, Event, JoinRequest, Limits, Member, Transport};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// The machine's clock with a wall clock that can be moved ahead.
struct MovableClock {
    real: SystemClock,
    ahead_millis: AtomicU64,
}

impl MovableClock {
    fn start() -> Arc<Self> {
        Arc::new(Self { real: SystemClock::start(), ahead_millis: AtomicU64::new(0) })
    }

    fn advance(&self, by: Duration) {
        self.ahead_millis.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Moment {
        self.real.now()
    }

    fn wall(&self) -> WallTime {
        self.real.wall() + Duration::from_millis(self.ahead_millis.load(Ordering::SeqCst))
    }
}

/// A running transport with what a test needs to know about it.
struct Node {
    key: Arc<HostKey>,
    clock: Arc<MovableClock>,
    transport: Transport,
    events: mpsc::Receiver<Event>,
}

fn limits() -> Limits {
    Limits {
        dial_timeout: Duration::from_secs(2),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_millis(200),
        ..Limits::default()
    }
}

fn root() -> FabricRoot {
    FabricRoot::from_seed([200; 32])
}

fn key(number: u8) -> Arc<HostKey> {
    Arc::new(HostKey::from_seed([number; 32]))
}

fn certificate(root: &FabricRoot, number: u8, from: WallTime) -> Certificate {
    let name = format!("host-{number}").parse().unwrap();
    Certificate::issue_by_root(root, Claim { fabric: root.id(), key: key(number).public(), name, from })
}

/// A view of the fabric in which the given hosts are known.
fn view(root: &FabricRoot, numbers: &[u8]) -> TrustView {
    TrustView {
        fabric: root.id(),
        root_public: root.public(),
        members: numbers.iter().map(|number| (key(*number).id(), key(*number).public())).collect(),
        forgotten: BTreeSet::new(),
        tokens: BTreeMap::new(),
    }
}

impl Node {
    fn start_at(number: u8, listen: SocketAddr, limits: Limits) -> Self {
        let (key, clock) = (key(number), MovableClock::start());
        let config = Config { listen, key: key.clone(), limits };
        let (transport, events) = Transport::start(config, clock.clone()).unwrap();
        Self { key, clock, transport, events }
    }

    fn start(number: u8, limits: Limits) -> Self {
        Self::start_at(number, "127.0.0.1:0".parse().unwrap(), limits)
    }

    /// A member certified by `root`, which knows only what its certificate proves.
    fn member_of(root: &FabricRoot, number: u8) -> Self {
        let node = Self::start(number, limits());
        node.enter(root, number);
        node
    }

    fn member(number: u8) -> Self {
        Self::member_of(&root(), number)
    }

    fn enter(&self, root: &FabricRoot, number: u8) {
        let certificate = certificate(root, number, self.clock.wall());
        self.transport.set_membership(Some(Member { certificate, root: None }));
        self.transport.set_trust(view(root, &[number]));
    }

    fn id(&self) -> HostId {
        self.key.id()
    }

    fn address(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    fn message(&self, to: &Self, text: &'static str) {
        self.transport.send_message(to.id(), &[to.address()], Bytes::from_static(text.as_bytes()));
    }

    fn datagram(&self, to: &Self, text: &'static str) {
        self.transport.send_datagram(to.id(), &[to.address()], Bytes::from_static(text.as_bytes()));
    }

    /// The next event for which `pick` has an answer; others are skipped.
    async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the transport runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("{what} did not come; peers: {:#?}", self.transport.peers()),
        }
    }

    async fn message_text(&mut self) -> String {
        self.expect("a message", |event| match event {
            Event::Message { bytes, .. } => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        })
        .await
    }

    async fn datagram_text(&mut self) -> String {
        self.expect("a datagram", |event| match event {
            Event::Datagram { bytes, .. } => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        })
        .await
    }

    async fn connected(&mut self) -> HostId {
        self.expect("a connection", |event| match event {
            Event::Connected { host, .. } => Some(host),
            _ => None,
        })
        .await
    }

    async fn disconnected(&mut self) -> String {
        self.expect("a disconnection", |event| match event {
            Event::Disconnected { why, .. } => Some(why),
            _ => None,
        })
        .await
    }

    /// The next refusal: its sentence and who refused.
    async fn refused(&mut self) -> (String, bool) {
        self.expect("a refusal", |event| match event {
            Event::Refused { sentence, by_us, .. } => Some((sentence, by_us)),
            _ => None,
        })
        .await
    }
}

/// A port of the loopback device that no other test takes meanwhile: none of those that the kernel hands out (from
/// 32768 on), and others in each process.
fn own_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 1_000).unwrap();
    10_000 + process * 16 + TAKEN.fetch_add(1, Ordering::SeqCst) % 16
}

/// Waits until `done`, at most [`PATIENCE`].
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen");
}

fn request() -> JoinRequest {
    JoinRequest {
        name: "newcomer".parse().unwrap(),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        quic_port: 7373,
        vxlan_port: 7374,
        version: "0.1.0".to_owned(),
    }
}

fn token(root: &FabricRoot, secret: u8, expires: WallTime) -> Token {
    Token::new(root.id(), [secret; 20], expires)
}
