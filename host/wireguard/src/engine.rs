//! What all threads share: the table of peers, the sockets, the counters; and the changes that come over the control
//! socket.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use shoal_ports::{Clock, SystemClock};

use crate::counters::{self, Counters};
use crate::outbox::Outbox;
use crate::peer::{MESSAGE, Peer};
use crate::socket::Sockets;
use crate::table::{Changed, Table};
use crate::uapi::{Change, DeviceState, Refusal, Request, parse};

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Engine {
    /// This host's tunnel address.
    pub(crate) own: Ipv4Addr,
    workers: usize,
    now: Mutex<Snapshot>,
    /// Counts changes of `now`, so that nobody need lock it to see that there was none.
    generation: AtomicU64,
    changed: Condvar,
    /// Changes come one after the other.
    changing: Mutex<()>,
    counters: Vec<Counters>,
}

/// Peers and sockets as they are at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Who the peers are.
    pub(crate) table: Arc<Table>,
    /// The sockets, once a port is set.
    pub(crate) sockets: Option<Arc<Sockets>>,
    generation: u64,
}

impl Engine {
    /// One without key, port and peers.
    pub(crate) fn new(own: Ipv4Addr, mtu: u16, workers: usize, clock: SystemClock) -> Self {
        // Different at each start; nobody need be unable to guess it.
        let first_slot = clock.wall().as_millis() as u32;
        let table = Arc::new(Table::new(mtu, first_slot, clock));
        Self {
            own,
            workers,
            now: Mutex::new(Snapshot { table, sockets: None, generation: 0 }),
            generation: AtomicU64::new(0),
            changed: Condvar::new(),
            changing: Mutex::new(()),
            // One for each thread that carries packets, and one for all others.
            counters: (0..2 * workers + 1).map(|_| Counters::default()).collect(),
        }
    }

    /// Counters of a thread: of the sending one of a worker, of its receiving one, or of any other.
    pub(crate) fn counters(&self, at: Role) -> &Counters {
        match at {
            Role::Out(worker) => &self.counters[2 * worker],
            Role::In(worker) => &self.counters[2 * worker + 1],
            Role::Other => &self.counters[2 * self.workers],
        }
    }

    /// Peers and sockets now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock_now().clone()
    }

    /// Takes up what has changed since; costs one read of memory when nothing has.
    #[inline]
    pub(crate) fn refresh(&self, snapshot: &mut Snapshot) {
        if self.generation.load(Ordering::Acquire) != snapshot.generation {
            *snapshot = self.snapshot();
        }
    }

    /// Waits until there is something newer.
    pub(crate) fn wait_for_change(&self, snapshot: &mut Snapshot) {
        let mut now = self.lock_now();
        while now.generation == snapshot.generation {
            now = self.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        *snapshot = now.clone();
    }

    /// Answers a request: the text, with its `errno` and the empty line.
    pub(crate) fn answer(&self, request: &str) -> String {
        let result = parse(request).and_then(|request| match request {
            Request::Get => Ok(self.state().text()),
            Request::Counters => Ok(counters::report(&self.counters)),
            Request::Set(change) => self.apply(&change).map(|()| String::new()),
        });
        match result {
            Ok(text) => format!("{text}errno=0\n\n"),
            Err(refusal) => format!("errno={}\n\n", refusal.errno()),
        }
    }

    /// Does what a set asks for: the port first, since only it can fail.
    pub(crate) fn apply(&self, change: &Change) -> Result<(), Refusal> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.snapshot();
        let sockets = match change.port {
            Some(port) => self.reopen(port, now.sockets.as_ref())?,
            None => now.sockets.clone(),
        };
        let (table, changed) = now.table.changed(change);
        self.publish(Arc::new(table), sockets.clone());
        if let Some(old) = now.sockets.filter(|old| sockets.as_ref().is_none_or(|new| !Arc::ptr_eq(old, new)))
        {
            old.shut();
        }
        self.greet(&changed);
        Ok(())
    }

    /// Begins handshakes with the new ends at once: after a restart of this one they wait for nobody's timer.
    fn greet(&self, changed: &Changed) {
        let counters = self.counters(Role::Other);
        changed.gone.iter().for_each(|peer| peer.lock().drop_waiting(counters));
        self.for_each(&changed.begun, |peer, outbox| peer.lock().initiate(outbox, counters));
    }

    /// Does something with each peer and sends what comes of it.
    pub(crate) fn for_each(&self, peers: &[Arc<Peer>], mut act: impl FnMut(&Peer, &mut Outbox)) {
        let Some(sockets) = self.snapshot().sockets else { return };
        let mut outbox = Outbox::new(4 * MESSAGE);
        for peer in peers {
            act(peer, &mut outbox);
            if !outbox.is_empty() {
                sockets.of(0).send(&mut outbox, self.counters(Role::Other));
            }
        }
    }

    fn reopen(&self, port: u16, old: Option<&Arc<Sockets>>) -> Result<Option<Arc<Sockets>>, Refusal> {
        if let Some(old) = old.filter(|old| port == 0 || old.port == port) {
            return Ok(Some(Arc::clone(old)));
        }
        let opened = Sockets::open(port, self.workers).map_err(|error| {
            tracing::warn!(port, %error, "cannot open the listen port");
            Refusal::Port
        })?;
        Ok(Some(Arc::new(opened)))
    }

    fn publish(&self, table: Arc<Table>, sockets: Option<Arc<Sockets>>) {
        let mut now = self.lock_now();
        let generation = now.generation + 1;
        *now = Snapshot { table, sockets, generation };
        self.generation.store(generation, Ordering::Release);
        self.changed.notify_all();
    }

    fn state(&self) -> DeviceState {
        let now = self.snapshot();
        DeviceState {
            private: now.table.identity.as_ref().map(|identity| identity.secret().clone()),
            port: now.sockets.map(|sockets| sockets.port),
            peers: now.table.peers().into_iter().map(|peer| peer.state()).collect(),
        }
    }

    fn lock_now(&self) -> MutexGuard<'_, Snapshot> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which thread counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// The one that reads the device, of this worker.
    Out(usize),
    /// The one that reads the socket, of this worker.
    In(usize),
    /// Timers and control.
    Other,
}
