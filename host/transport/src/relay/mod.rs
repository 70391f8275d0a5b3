//! Packets of encrypted ends that cannot meet, carried by agents over their connections. What is carried is sealed by
//! and for the ends; a relay sees which hosts talk, and how much.
//!
//! ```text
//!   end ── 127.b.c.d, UDP ──> Local ── Pass ──> the agent of a member ── Passed ──> the other host's agent ──> its end
//!                                └──── Passed ──────────────────────────────────────────────^
//! ```
//!
//! Nothing waits: what finds no connection or no room is dropped and counted, as on any network. At most one other
//! member passes a packet on.

mod copies;
mod frame;
mod local;

pub(crate) use frame::Frame;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use shoal_plan::{RelayPlan, RelayedEnd};
use shoal_types::{HostId, Moment};

use crate::counters::Counter;
use crate::link::Link;
use crate::outbox::{Kind, Parcel};
use crate::relay::copies::Copies;
use crate::relay::frame::Ends;
use crate::relay::local::{Local, PACKET_BYTES_MAX};
use crate::shared::{Shared, send_bytes};

/// How often missing connections are asked for.
const DIAL_EVERY: Duration = Duration::from_secs(1);

/// How long a member that could not pass packets on to a host is left out.
const NO_WAY_FOR: Duration = Duration::from_secs(5);

/// Copies begin this often, go on for [`COPY_FOR`] and are at most [`COPIES_MAX`] packets: ends must hear a few in a
/// row to settle for the direct way, and more would be waste where there is none.
const COPY_EVERY: Duration = Duration::from_secs(5);
const COPY_FOR: Duration = Duration::from_secs(1);
const COPIES_MAX: u32 = 64;

/// [`Frame::Here`] as a parcel, which has its kind beside it.
const HERE: &[u8] = &[0];

/// Types of WireGuard's handshake messages (the WireGuard paper, section 5.4). A copy of one that arrives moves the
/// whole session.
const HANDSHAKES: [u8; 2] = [1, 2];

/// Packets that were carried since the start; what was lost stands in [`Counters`](crate::Counters).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayTraffic {
    /// Of this host's encrypted ends, sent through agents.
    pub sent: u64,
    /// For this host's encrypted ends, come through agents.
    pub delivered: u64,
    /// Passed on between two other hosts.
    pub passed_on: u64,
    /// Copies of those sent, to look for a way without a relay.
    pub copied: u64,
}

#[derive(Debug, Default)]
struct Carried {
    sent: Counter,
    delivered: Counter,
    passed_on: Counter,
    copied: Counter,
}

/// The carrier on one host.
#[derive(Debug)]
pub(crate) struct Relay {
    local: Local,
    copies: Copies,
    table: RwLock<Arc<Table>>,
    /// Who could not pass packets on to whom, and when.
    no_way: Mutex<BTreeMap<(HostId, HostId), Moment>>,
    paces: Mutex<BTreeMap<(HostId, u32), Pace>>,
    carried: Carried,
}

/// The plan, and the same the other way round.
#[derive(Debug, Default)]
struct Table {
    plan: RelayPlan,
    ends: BTreeMap<Ipv4Addr, (HostId, u32)>,
    ports: BTreeMap<u16, u32>,
}

/// How many packets to an end were copied since when.
#[derive(Debug)]
struct Pace {
    since: Moment,
    copied: u32,
}

impl Pace {
    fn allows(&mut self, now: Moment) -> bool {
        if now.since(self.since) >= COPY_EVERY {
            *self = Self { since: now, copied: 0 };
        }
        self.copied += 1;
        self.copied <= COPIES_MAX && now.since(self.since) < COPY_FOR
    }
}

impl Relay {
    /// Opens the port on the loopback device.
    pub(crate) fn open(port: u16) -> std::io::Result<Self> {
        Ok(Self {
            local: Local::open(port)?,
            copies: Copies::open(),
            table: RwLock::default(),
            no_way: Mutex::default(),
            paces: Mutex::default(),
            carried: Carried::default(),
        })
    }

    pub(crate) fn set_plan(&self, plan: RelayPlan) {
        let ends = plan.ends.iter().map(|(id, end)| (end.address, *id)).collect();
        let ports = plan.own.iter().map(|(generation, port)| (*port, *generation)).collect();
        let is_around = |id: &(HostId, u32)| plan.ends.get(id).is_some_and(|end| !end.via.is_empty());
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| is_around(id));
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Table { plan, ends, ports });
    }

    pub(crate) fn traffic(&self) -> RelayTraffic {
        let Carried { sent, delivered, passed_on, copied } = &self.carried;
        RelayTraffic {
            sent: sent.get(),
            delivered: delivered.get(),
            passed_on: passed_on.get(),
            copied: copied.get(),
        }
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what this host's ends send, until aborted.
    pub(crate) async fn take(self: Arc<Self>, shared: Arc<Shared>) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            match self.local.receive(&mut buffer).await {
                Ok(taken) => {
                    let packet = &buffer[..taken.length];
                    self.carry(&shared, packet, taken.to, taken.port);
                }
                // The kernel reports that an end's port was closed; the next packet is another matter.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn carry(&self, shared: &Shared, packet: &[u8], to: Ipv4Addr, port: u16) {
        let table = self.table();
        let (Some(from), Some((host, generation))) = (table.ports.get(&port), table.ends.get(&to)) else {
            return shared.counters.relay_strangers.one();
        };
        let Some(end) = table.plan.ends.get(&(*host, *generation)) else { return };
        self.copy(shared, packet, port, (*host, *generation), end);
        let ends = |host| Ends { host, from: *from, to: *generation };
        let Some(link) = self.next_link(shared, *host, end) else {
            return shared.counters.relay_without_way.one();
        };
        let frame = match link.host == *host {
            true => Frame::Passed(ends(shared.id), packet),
            false => Frame::Pass(ends(*host), packet),
        };
        match send(&link, &frame) {
            true => self.carried.sent.one(),
            // Another way carries no larger ones; probes of the path find out.
            false => shared.counters.relay_too_large.one(),
        }
    }

    /// The connection on which packets for a host leave.
    fn next_link(&self, shared: &Shared, host: HostId, end: &RelayedEnd) -> Option<Arc<Link>> {
        let now = shared.clock.now();
        let ways = end.via.iter().map(|(via, _)| *via).filter(|via| !self.has_no_way(*via, host, now));
        ways.filter_map(|via| shared.peers.find(via)?.link()).next()
    }

    /// The host whose agent takes packets for another host's ends.
    pub(crate) fn carrier(&self, shared: &Shared, host: HostId) -> Option<HostId> {
        let table = self.table();
        let (_, end) = table.plan.ends.range((host, 0)..=(host, u32::MAX)).next()?;
        Some(self.next_link(shared, host, end)?.host)
    }

    fn copy(&self, shared: &Shared, packet: &[u8], port: u16, id: (HostId, u32), end: &RelayedEnd) {
        let now = shared.clock.now();
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = paces.entry(id).or_insert(Pace { since: now, copied: 0 });
        let is_handshake = packet.first().is_some_and(|kind| HANDSHAKES.contains(kind));
        let is_due = pace.allows(now) || is_handshake;
        drop(paces);
        if is_due {
            for place in &end.direct {
                if self.copies.send(packet, port, *place) {
                    self.carried.copied.one();
                }
            }
        }
    }

    /// A member has sent a datagram about relayed packets.
    pub(crate) fn heard(&self, shared: &Shared, link: &Link, bytes: &[u8]) {
        match Frame::decode(bytes) {
            Some(Frame::Here) => {}
            Some(Frame::NoWay(host)) => {
                let mut no_way = self.no_way.lock().unwrap_or_else(PoisonError::into_inner);
                no_way.insert((link.host, host), shared.clock.now());
            }
            Some(Frame::Pass(ends, packet)) if ends.host == shared.id => {
                self.deliver(shared, Ends { host: link.host, ..ends }, packet);
            }
            Some(Frame::Pass(ends, packet)) => self.pass_on(shared, link, ends, packet),
            Some(Frame::Passed(ends, packet)) => self.deliver(shared, ends, packet),
            None => shared.counters.relay_garbled.one(),
        }
    }

    /// Passes a packet on between two other hosts, or says that there is no way.
    fn pass_on(&self, shared: &Shared, link: &Link, ends: Ends, packet: &[u8]) {
        let to = shared.peers.find(ends.host).and_then(|peer| peer.link());
        let passed = Frame::Passed(Ends { host: link.host, ..ends }, packet);
        match to {
            Some(to) if send(&to, &passed) => self.carried.passed_on.one(),
            Some(_) => shared.counters.relay_too_large.one(),
            None => {
                shared.counters.relay_without_way.one();
                send(link, &Frame::NoWay(ends.host));
            }
        }
    }

    /// Hands a packet to this host's end. Who sent it is what the ends themselves find out.
    fn deliver(&self, shared: &Shared, ends: Ends, packet: &[u8]) {
        let table = self.table();
        let end = table.plan.ends.get(&(ends.host, ends.from));
        let (Some(end), Some(port)) = (end, table.plan.own.get(&ends.to)) else {
            return shared.counters.relay_unknown.one();
        };
        match self.local.send(packet, end.address, *port) {
            Ok(()) => self.carried.delivered.one(),
            Err(_) => shared.counters.relay_undelivered.one(),
        }
    }

    fn has_no_way(&self, via: HostId, to: HostId, now: Moment) -> bool {
        let no_way = self.no_way.lock().unwrap_or_else(PoisonError::into_inner);
        no_way.get(&(via, to)).is_some_and(|at| now.since(*at) < NO_WAY_FOR)
    }

    /// Asks for the connections that relaying needs, until aborted.
    pub(crate) async fn dial(self: Arc<Self>, shared: Arc<Shared>) {
        let mut every = tokio::time::interval(DIAL_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (table, now) = (self.table(), shared.clock.now());
            let wanted = table.plan.ends.values().flat_map(|end| &end.via).map(|(host, at)| (host, at));
            for (host, addresses) in wanted.chain(&table.plan.homes) {
                let peer = shared.peers.find(*host);
                if peer.is_none_or(|peer| peer.link().is_none() && peer.outbox.is_empty()) {
                    // What a relay hears of it does not matter; that there is a connection does.
                    let bytes = Bytes::from_static(HERE);
                    shared.send(*host, addresses, Parcel { kind: Kind::Relay, bytes });
                }
            }
            let mut no_way = self.no_way.lock().unwrap_or_else(PoisonError::into_inner);
            no_way.retain(|_, at| now.since(*at) < NO_WAY_FOR);
        }
    }
}

fn send(link: &Link, frame: &Frame<'_>) -> bool {
    send_bytes(link, frame.encode(Kind::Relay.byte()))
}
