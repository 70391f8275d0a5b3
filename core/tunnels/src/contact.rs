//! Where another host's end is looked for.

use std::time::Duration;

use shoal_types::Moment;

/// How long after a handshake a session's keys may be used (the WireGuard paper, section 6.1: Reject-After-Time).
pub(crate) const SESSION: Duration = Duration::from_secs(180);

/// How long one address is tried: WireGuard repeats an unanswered handshake after 5 s (Rekey-Timeout), so each address
/// gets a first attempt and one more.
pub(crate) const TRY_FOR: Duration = Duration::from_secs(6);

/// How long an end that is sent to may be silent: it sends something within 10 s (Keepalive-Timeout), and after 5 s
/// more (Rekey-Timeout) WireGuard gives the session up itself.
const SILENCE: Duration = Duration::from_secs(15);

/// More than this many bytes sent in a silence call for an answer: a handshake message and two keepalives, which alone
/// call for none.
const UNANSWERED: u64 = 148 + 2 * 32;

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
    heard: Moment,
    sent_when_heard: u64,
}

impl Contact {
    pub(crate) fn new(now: Moment) -> Self {
        Self { since: now, read: now, heard: now, ..Self::default() }
    }

    /// Whether both ends hold session keys.
    pub(crate) fn is_up(&self, now: Moment) -> bool {
        self.handshake_age(now).is_some_and(|age| age < SESSION)
    }

    /// Whether the other end answers, as far as can be told: where it is sent to need not be looked for.
    pub(crate) fn is_found(&self, now: Moment) -> bool {
        let unanswered = self.status.sent_bytes.saturating_sub(self.sent_when_heard);
        let is_silent = unanswered > UNANSWERED && now.since(self.heard) >= SILENCE;
        self.is_up(now) && !is_silent
    }

    /// How long ago the last handshake was completed.
    pub(crate) fn handshake_age(&self, now: Moment) -> Option<Duration> {
        self.status.handshake.map(|age| age + now.since(self.read))
    }

    /// Takes what was read. An end that is sent to and does not answer is looked for at the next address; one to which
    /// nothing is sent may be silent for other reasons.
    pub(crate) fn observe(&mut self, status: Status, now: Moment) {
        // Counts begin anew with the process that keeps them.
        let asked = status.sent_bytes != self.sent_before;
        let shook_hands = status.handshake.is_some_and(|age| age < now.since(self.heard));
        let has_heard = shook_hands || status.received_bytes != self.status.received_bytes;
        if has_heard || status.sent_bytes < self.sent_when_heard {
            (self.heard, self.sent_when_heard) = (now, status.sent_bytes);
        }
        (self.status, self.read) = (status, now);
        if self.is_found(now) {
            (self.since, self.sent_before) = (now, self.status.sent_bytes);
        } else if asked && now.since(self.since) >= TRY_FOR {
            self.attempt = self.attempt.wrapping_add(1);
            (self.since, self.sent_before) = (now, self.status.sent_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    fn read(contact: &mut Contact, seconds: u64, sent_bytes: u64, received_bytes: u64) {
        let handshake = Some(Duration::from_secs(seconds));
        contact.observe(Status { handshake, endpoint: None, received_bytes, sent_bytes }, at(seconds));
    }

    #[test]
    fn an_end_that_is_sent_to_and_silent_is_looked_for_though_its_session_is_young() {
        let mut contact = Contact::new(at(0));
        (0..=14).for_each(|second| read(&mut contact, second, 1000 * second, 500));
        assert!(contact.is_found(at(14)), "it may be late");
        (15..=22).for_each(|second| read(&mut contact, second, 1000 * second, 500));
        assert!(contact.is_up(at(22)) && !contact.is_found(at(22)));
        assert_eq!(contact.attempt, 1);
        read(&mut contact, 23, 23_000, 600);
        assert!(contact.is_found(at(23)), "it was heard again");
    }

    #[test]
    fn an_end_to_which_nothing_or_too_little_is_sent_may_be_silent() {
        let mut contact = Contact::new(at(0));
        (0..=60).for_each(|second| read(&mut contact, second, 700, 500));
        assert!(contact.is_found(at(60)));
        (61..=90).for_each(|second| read(&mut contact, second, 700 + 32 * (second / 10 - 6), 500));
        assert!(contact.is_found(at(90)));
    }
}
