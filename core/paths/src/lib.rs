//! Paths to other hosts: what probes to send, and what their answers mean.
//!
//! Collect-metadata VXLAN tells nobody when a packet is too large for the underlay: it is lost in silence. So each
//! host sends probes of known size *through the tunnel* to every other one and believes nothing but answers. A packet
//! of the largest size that should pass is sent first; if it does not come back, a small one tells whether anything
//! passes, and halving the interval in between finds the largest that does (the idea of RFC 8899, without an estimate
//! to start from). Apart from single packets, a bulk transfer with a checksum finds devices that corrupt what they
//! offload.
//!
//! ```text
//!            answered: watch again in WATCH_EVERY
//!   full size ──────────────────────────────────────> known
//!       │ lost TRIES times                              ^
//!       v            answered                           │ interval <= RESOLUTION
//!   small size ─────────────> halve the interval ───────┘
//!       │ lost TRIES times
//!       v
//!   unreachable: again in RETRY_EVERY
//! ```

mod effect;
mod path;
mod search;

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_types::{HostId, Moment};

pub use effect::Effect;
pub use path::{Bulk, Path};
use search::{Next, Search};

/// How often a path that works is watched, while there are few: at most [`WATCHES_PER_SECOND`] in all.
pub const WATCH_EVERY: Duration = Duration::from_secs(10);

/// Watching probes of one host in a second, whatever the number of paths: 3 kB/s with packets of 1,370 bytes.
pub const WATCHES_PER_SECOND: u32 = 2;

/// How often a path on which nothing passes is tried.
pub const RETRY_EVERY: Duration = Duration::from_secs(2);

/// How often a path that carries less than it should is searched from the top.
pub const SEARCH_EVERY: Duration = Duration::from_secs(60);

/// How often a bulk transfer is made over a path, while there are few: at most one in [`BULK_PAUSE`] in all.
pub const BULK_EVERY: Duration = Duration::from_secs(3_600);

/// Least time between two bulk transfers of one host, but for the first [`BULKS_AT_START`].
pub const BULK_PAUSE: Duration = Duration::from_secs(120);

/// The first bulk transfers to hosts that became known together, which follow each other by a second.
pub const BULKS_AT_START: usize = 30;

/// How long an answer may take.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(400);

/// Probes of one size before it counts as too large.
pub const TRIES: u32 = 3;

/// The small size, bytes of IP packet: passes wherever IPv6 does.
pub const SMALL: u16 = 128;

/// Sizes closer than this are taken as one, bytes.
pub const RESOLUTION: u16 = 8;

/// All paths from one host.
#[derive(Debug, Default)]
pub struct Paths {
    states: BTreeMap<HostId, State>,
    next_nonce: u64,
}

#[derive(Debug)]
struct State {
    path: Path,
    search: Search,
    /// The probe under way, and when it counts as lost.
    waiting: Option<(u64, Moment)>,
    due: Moment,
    bulk_due: Moment,
    search_due: Moment,
}

impl Paths {
    /// Knows nobody. Nonces count up from `seed`, which should differ at every start.
    pub fn new(seed: u64) -> Self {
        Self { states: BTreeMap::new(), next_nonce: seed }
    }

    /// Says to whom paths are wanted, each with the largest packet that should pass, bytes. What is known of others is
    /// forgotten; a changed size starts its path anew.
    pub fn set_hosts(&mut self, hosts: &BTreeMap<HostId, u16>, now: Moment) {
        self.states.retain(|host, state| hosts.get(host) == Some(&state.search.full()));
        let (mut bulk_due, mut new) = (now, 0);
        for (host, full) in hosts {
            self.states.entry(*host).or_insert_with(|| {
                let due = bulk_due;
                new += 1;
                bulk_due = bulk_due + if new < BULKS_AT_START { Duration::from_secs(1) } else { BULK_PAUSE };
                let search = Search::new(*full);
                State {
                    path: Path { full: search.full(), ..Path::default() },
                    search,
                    waiting: None,
                    due: now,
                    bulk_due: due,
                    search_due: now + SEARCH_EVERY,
                }
            });
        }
    }

    /// Sends what has come due.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let hosts: Vec<HostId> = self.states.keys().copied().collect();
        for host in hosts {
            self.tick_host(host, now, &mut effects);
        }
        effects
    }

    /// When [`Paths::tick`] next has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        let wake = |state: &State| state.waiting.map_or(state.due, |(_, lost)| lost);
        self.states.values().map(wake).min()
    }

    /// A probe came back.
    pub fn answered(&mut self, host: HostId, nonce: u64, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(state) = self.states.get_mut(&host) else { return effects };
        if state.waiting.is_some_and(|(sent, _)| sent == nonce) {
            state.waiting = None;
            let next = state.search.passed();
            self.go_on(host, next, now, &mut effects);
        }
        effects
    }

    /// The outcome of a bulk transfer.
    pub fn bulk(&mut self, host: HostId, outcome: Bulk) -> Vec<Effect> {
        let Some(state) = self.states.get_mut(&host) else { return Vec::new() };
        state.set(host, Path { bulk: outcome, ..state.path.clone() })
    }

    /// What is known of the path to a host.
    pub fn path(&self, host: HostId) -> Option<&Path> {
        self.states.get(&host).map(|state| &state.path)
    }

    fn tick_host(&mut self, host: HostId, now: Moment, effects: &mut Vec<Effect>) {
        let Some(state) = self.states.get_mut(&host) else { return };
        match state.waiting {
            Some((_, lost)) if now >= lost => {
                state.waiting = None;
                let next = state.search.lost();
                self.go_on(host, next, now, effects);
            }
            None if now >= state.due => {
                if now >= state.search_due {
                    state.search_due = now + SEARCH_EVERY;
                    state.search.restart();
                }
                let next = state.search.begin();
                self.go_on(host, next, now, effects);
            }
            _ => {}
        }
    }

    fn go_on(&mut self, host: HostId, next: Next, now: Moment, effects: &mut Vec<Effect>) {
        let count = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
        let watch_every = WATCH_EVERY.max(Duration::from_secs(1) * (count / WATCHES_PER_SECOND));
        let bulk_every = BULK_EVERY.max(BULK_PAUSE * count);
        let Some(state) = self.states.get_mut(&host) else { return };
        match next {
            Next::Probe(bytes) => {
                let nonce = self.next_nonce;
                self.next_nonce = self.next_nonce.wrapping_add(1);
                state.waiting = Some((nonce, now + ANSWER_WITHIN));
                effects.push(Effect::Probe { host, nonce, bytes });
            }
            Next::Known(mtu) => {
                state.due = now + watch_every;
                // A path that came up while it was searched looks narrow: its first, full-sized probes were lost.
                if state.path.mtu != Some(mtu) && mtu < state.search.full() {
                    state.search_due = now + WATCH_EVERY;
                    state.due = state.search_due;
                }
                effects.extend(state.set(host, Path { tried: true, mtu: Some(mtu), ..state.path.clone() }));
                // Full packets that get lost on a narrow path would look like corrupted ones.
                if now >= state.bulk_due && mtu >= state.search.full() {
                    state.bulk_due = now + bulk_every;
                    effects.push(Effect::Transfer(host));
                }
            }
            Next::Unreachable => {
                state.due = now + RETRY_EVERY;
                effects.extend(state.set(host, Path { tried: true, mtu: None, ..state.path.clone() }));
            }
        }
    }
}

impl State {
    fn set(&mut self, host: HostId, path: Path) -> Vec<Effect> {
        if self.path == path {
            return Vec::new();
        }
        self.path = path;
        vec![Effect::Found(host, self.path.clone())]
    }
}

#[cfg(test)]
mod tests;
