//! Where another host's end is looked for.

use std::time::Duration;

use shoal_types::Moment;

/// How long after a handshake a session's keys may be used (the WireGuard paper, section 6.1: Reject-After-Time).
pub(crate) const SESSION: Duration = Duration::from_secs(180);

/// How long one address is tried: WireGuard repeats an unanswered handshake after 5 s (Rekey-Timeout), so each address
/// gets a first attempt and one more.
pub(crate) const TRY_FOR: Duration = Duration::from_secs(6);

/// What was last read of a tunnel to one other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// How long before it was read the last handshake was completed; `None`: there was none.
    pub handshake: Option<Duration>,
    /// Where the other end was heard from last, or is sent to.
    pub endpoint: Option<std::net::SocketAddr>,
    /// Bytes received and found genuine.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// The search for one other end, from one of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// What is known.
    pub(crate) status: Status,
    read: Moment,
    /// Which of the other host's addresses is tried, counted on and on.
    pub(crate) attempt: usize,
    since: Moment,
    sent_before: u64,
}

impl Contact {
    pub(crate) fn new(now: Moment) -> Self {
        Self { since: now, read: now, ..Self::default() }
    }

    /// Whether both ends hold session keys.
    pub(crate) fn is_up(&self, now: Moment) -> bool {
        self.handshake_age(now).is_some_and(|age| age < SESSION)
    }

    /// How long ago the last handshake was completed.
    pub(crate) fn handshake_age(&self, now: Moment) -> Option<Duration> {
        self.status.handshake.map(|age| age + now.since(self.read))
    }

    /// Takes what was read. An end that is sent to and does not answer is looked for at the next address; one to which
    /// nothing is sent may be silent for other reasons.
    pub(crate) fn observe(&mut self, status: Status, now: Moment) {
        let asked = status.sent_bytes > self.sent_before;
        (self.status, self.read) = (status, now);
        if self.is_up(now) {
            (self.since, self.sent_before) = (now, self.status.sent_bytes);
        } else if asked && now.since(self.since) >= TRY_FOR {
            self.attempt = self.attempt.wrapping_add(1);
            (self.since, self.sent_before) = (now, self.status.sent_bytes);
        }
    }
}
