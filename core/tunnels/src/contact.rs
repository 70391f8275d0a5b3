//! Where another host's end is looked for.

use std::net::SocketAddr;
use std::time::Duration;

use shoal_plan::is_relayed;
use shoal_types::Moment;

/// How long after a handshake a session's keys may be used (the WireGuard paper, section 6.1: Reject-After-Time).
pub(crate) const SESSION: Duration = Duration::from_secs(180);

/// How long an advertised place is tried: WireGuard repeats an unanswered handshake after 5 s (Rekey-Timeout), so each
/// gets a first attempt or one more.
pub const TRY_FOR: Duration = Duration::from_secs(6);

/// How long an observed place is tried: two attempts, since the first may only open the way for the other host's. Two
/// hosts come back to each of three observed places within 69 s, so one of them follows the other within 35: about as
/// long as the shortest-lived NATs remember an unanswered packet. Their clocks need not agree. But by then a relay has
/// given them a session, copies of whose packets keep both NATs open.
pub const TRY_OBSERVED_FOR: Duration = Duration::from_secs(11);

/// How long one place is tried while nothing seems to be sent there: perhaps nobody has anything to say, perhaps no
/// route leads there.
const TRY_IDLE_FOR: Duration = Duration::from_secs(60);

/// How long an end with a session may leave packets unanswered before it is looked for elsewhere. An end that is only
/// sent to says so after 10 s (Keepalive-Timeout).
pub const SILENT_FOR: Duration = Duration::from_secs(12);

/// Bytes that must have gone unanswered: more than the keepalives of that time, which nobody answers.
const SILENT_BYTES: u64 = 512;

/// What was last read of a tunnel to one other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// How long before it was read the last handshake was completed; `None`: there was none.
    pub handshake: Option<Duration>,
    /// Where the other end was heard from last, or is sent to.
    pub endpoint: Option<SocketAddr>,
    /// Bytes received and found genuine.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// Where an end may be. Attempts take turns: at what its host says of itself, where others hear it, and where the agent
/// takes packets for it; a list that is empty is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) advertised: Vec<SocketAddr>,
    pub(crate) observed: Vec<SocketAddr>,
    /// One at most.
    pub(crate) relayed: Vec<SocketAddr>,
}

/// The lists of [`Places`].
const LISTS: usize = 3;

/// The number of an attempt at the relay.
const ATTEMPT_RELAYED: usize = 2;

impl Places {
    /// Whether an attempt goes where others hear the end.
    fn is_observed(&self, attempt: usize) -> bool {
        self.taken(attempt) % LISTS == 1 && !self.observed.is_empty()
    }

    /// The number of the first attempt at one of the advertised places.
    pub(crate) fn attempt_advertised(index: usize) -> usize {
        index * LISTS
    }

    /// The number of the first attempt at one of the observed places.
    pub(crate) fn attempt_observed(index: usize) -> usize {
        index * LISTS + 1
    }

    pub(crate) fn at(&self, attempt: usize) -> Option<SocketAddr> {
        let taken = self.taken(attempt);
        let list = self.list(taken);
        list.get((taken / LISTS).checked_rem(list.len())?).copied()
    }

    /// The attempt that follows when an end with a session answers no more at `endpoint`. Agents come first: most often
    /// they reach its host still, and they look for the direct way themselves.
    fn instead_of(&self, endpoint: Option<SocketAddr>, attempt: usize) -> usize {
        if !self.relayed.is_empty() && !endpoint.is_some_and(is_relayed) {
            return ATTEMPT_RELAYED;
        }
        if self.at(attempt) == endpoint { self.next(attempt) } else { attempt }
    }

    fn next(&self, attempt: usize) -> usize {
        self.taken(self.taken(attempt).wrapping_add(1))
    }

    /// The attempt that is made when it is the turn of `attempt`: its own, or the next whose list holds a place.
    fn taken(&self, attempt: usize) -> usize {
        let mut turns = (0..LISTS).map(|turn| attempt.wrapping_add(turn));
        turns.find(|turn| !self.list(*turn).is_empty()).unwrap_or(attempt)
    }

    fn list(&self, attempt: usize) -> &[SocketAddr] {
        match attempt % LISTS {
            0 => &self.advertised,
            1 => &self.observed,
            _ => &self.relayed,
        }
    }
}

/// The search for one other end, from one of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// What is known.
    pub(crate) status: Status,
    read: Moment,
    /// Which of the other end's places is tried.
    pub(crate) attempt: usize,
    since: Moment,
    sent_before: u64,
    /// Since when nothing that was sent was answered, and how much had been sent by then.
    unanswered: Option<(Moment, u64)>,
    /// There may be a session, and yet the other end is looked for.
    lost: bool,
    /// The attempt at which to look, if the next reading counts nothing from the other end, and whether the readings to
    /// compare have begun: the last one may be older than the suspicion.
    suspected: Option<(usize, bool)>,
    /// When it was last found.
    found: Moment,
}

impl Contact {
    pub(crate) fn new(now: Moment) -> Self {
        Self { since: now, read: now, found: now, ..Self::default() }
    }

    /// Whether both ends hold session keys.
    pub(crate) fn is_up(&self, now: Moment) -> bool {
        self.handshake_age(now).is_some_and(|age| age < SESSION)
    }

    /// Whether there is a session and nothing speaks against the place where the other end was heard.
    pub(crate) fn is_found(&self, now: Moment) -> bool {
        self.is_up(now) && !self.lost
    }

    /// Whether it is worth reading its status more often.
    pub(crate) fn is_unsettled(&self, now: Moment) -> bool {
        !self.is_found(now) || self.unanswered.is_some() || self.suspected.is_some()
    }

    /// How long ago the last handshake was completed.
    pub(crate) fn handshake_age(&self, now: Moment) -> Option<Duration> {
        self.status.handshake.map(|age| age + now.since(self.read))
    }

    /// How long it has been looked for.
    pub(crate) fn looked_for(&self, now: Moment) -> Duration {
        if self.is_found(now) { Duration::ZERO } else { now.since(self.found) }
    }

    /// Looks at a place from now on.
    pub(crate) fn look(&mut self, attempt: usize, now: Moment) {
        (self.attempt, self.since, self.sent_before) = (attempt, now, self.status.sent_bytes);
    }

    /// Somebody says that the other end has moved: if it is not heard between two readings, it is looked for. One that
    /// is heard stays where it is, whatever is said.
    pub(crate) fn suspect(&mut self, attempt: usize) {
        self.suspected = Some((attempt, false));
    }

    fn lose(&mut self, attempt: usize, now: Moment) {
        (self.lost, self.unanswered) = (true, None);
        self.look(attempt, now);
    }

    /// Takes what was read. An end that is sent to and does not answer is looked for at the next place; one to which
    /// nothing is sent may be silent for other reasons. `called`: it is sent to, whatever the counter says.
    pub(crate) fn observe(&mut self, status: Status, places: &Places, called: bool, now: Moment) {
        if status.sent_bytes < self.status.sent_bytes {
            // Another process or device counts.
            (self.sent_before, self.unanswered) = (0, None);
        }
        let handshaken = status.handshake.is_some_and(|age| age <= now.since(self.read));
        let heard = handshaken || status.received_bytes > self.status.received_bytes;
        let sending = status.sent_bytes > self.status.sent_bytes;
        let from = self.status.sent_bytes;
        (self.status, self.read) = (status, now);
        if heard {
            (self.unanswered, self.lost) = (None, false);
        } else if sending && self.unanswered.is_none() {
            self.unanswered = Some((now, from));
        }
        match self.suspected {
            Some((attempt, false)) => self.suspected = Some((attempt, true)),
            Some((attempt, true)) => {
                self.suspected = None;
                if !heard {
                    self.lose(attempt, now);
                }
            }
            None => {}
        }
        if !self.lost && self.is_up(now) && self.is_silent(now) {
            self.lose(places.instead_of(self.status.endpoint, self.attempt), now);
        }
        if self.is_found(now) {
            (self.since, self.sent_before, self.found) = (now, self.status.sent_bytes, now);
            return;
        }
        let asked = called || self.status.sent_bytes > self.sent_before;
        let time = match (asked, places.is_observed(self.attempt)) {
            (false, _) => TRY_IDLE_FOR,
            (true, false) => TRY_FOR,
            (true, true) => TRY_OBSERVED_FOR,
        };
        if now.since(self.since) >= time {
            self.look(places.next(self.attempt), now);
        }
    }

    fn is_silent(&self, now: Moment) -> bool {
        self.unanswered.is_some_and(|(since, from)| {
            now.since(since) >= SILENT_FOR && self.status.sent_bytes.saturating_sub(from) >= SILENT_BYTES
        })
    }
}
