//! Taking another author's state: everything is checked on a copy, then the copy takes the place of what was held.

use std::sync::Arc;

use shoal_types::{HostId, Moment};

use crate::head::Mark;
use crate::outcome::Outcome;
use crate::set::{Delta, Set, Unfit};
use crate::stats::Discarded;
use crate::{AUTHORS_MAX, Facts, Judge, Notice, PUSH_HOPS, REFUSAL_LASTS, wire};

impl Facts {
    /// Takes a delta that `from` sent; anyone may forward anyone's.
    pub(crate) fn take_delta(
        &mut self,
        from: HostId,
        delta: wire::Delta,
        now: Moment,
        judge: &dyn Judge,
        out: &mut Outcome,
    ) {
        let hops = delta.hops.min(PUSH_HOPS);
        let Some(delta) = delta.read() else { return self.counters.discard(Discarded::Malformed) };
        let author = delta.head.author();
        if author == self.me {
            return self.take_own(from, delta, now, out);
        }
        if let Some(reason) = self.reason_to_skip(author, &delta, now, out) {
            return self.counters.discard(reason);
        }
        let mark = delta.head.mark();
        let handed_on = (hops > 0).then(|| wire::delta_message(&delta, hops - 1));
        match self.verified(author, delta) {
            Ok(set) => {
                if self.admit(author, set, now, judge, out)
                    && let Some(message) = handed_on
                {
                    self.hand_on([from, author], &message, out);
                }
            }
            Err(reason) => {
                self.counters.discard(reason);
                self.ask_again(from, (author, mark), reason, now, out);
            }
        }
    }

    /// The cheap checks, which a flood of duplicates meets first.
    fn reason_to_skip(
        &mut self,
        author: HostId,
        delta: &Delta,
        now: Moment,
        out: &mut Outcome,
    ) -> Option<Discarded> {
        let mark = delta.head.mark();
        if self.forgotten.contains(&author) {
            return Some(Discarded::Forgotten);
        }
        if mark <= self.mark_of(author) {
            return Some(Discarded::Stale);
        }
        if self.refused.get(&author, now) == Some(&mark) {
            return Some(Discarded::NotAdmitted);
        }
        if self.sets.len() >= AUTHORS_MAX && !self.sets.contains_key(&author) {
            self.refused.insert(author, mark, now + REFUSAL_LASTS);
            out.notices.push(Notice::TooManyAuthors { author });
            return Some(Discarded::TooManyAuthors);
        }
        None
    }

    /// The state that the delta leads to, if the author signed it.
    fn verified(&self, author: HostId, delta: Delta) -> Result<Set, Discarded> {
        if !delta.head.is_genuine() {
            return Err(Discarded::BadSignature);
        }
        delta.apply_to(self.held(author)).map_err(|unfit| match unfit {
            Unfit::Gap => Discarded::Gap,
            Unfit::Mismatch => Discarded::BadDigest,
        })
    }

    /// Puts a verified set in place of the one held, unless the judge refuses; returns whether it did.
    fn admit(&mut self, author: HostId, set: Set, now: Moment, judge: &dyn Judge, out: &mut Outcome) -> bool {
        let value = |key: &[u8]| set.entries.get(key).and_then(|entry| entry.value.clone());
        if let Err(reason) = judge.admits(author, &value) {
            self.refused.insert(author, set.head.mark(), now + REFUSAL_LASTS);
            self.counters.discard(Discarded::NotAdmitted);
            out.notices.push(Notice::Refused { author, reason });
            return false;
        }
        let version = set.head.version;
        self.root = None;
        let old = self.sets.insert(author, Arc::new(set));
        if old.as_ref().is_some_and(|old| old.head.version == version) {
            out.notices.push(Notice::TwoStates { author, version });
        }
        if let Some(old) = old.as_ref().filter(|old| old.head.version.incarnation < version.incarnation) {
            self.hand_back(author, old, now, out);
        }
        out.replace(author, old.as_deref(), self.held(author));
        self.counters.applied += 1;
        self.peers.stir(now);
        true
    }

    fn hand_on(&mut self, except: [HostId; 2], message: &[u8], out: &mut Outcome) {
        for peer in self.peers.forward_targets(except) {
            out.send(peer, message.to_vec());
        }
    }

    /// After a gap the sender has the rest. After anything false the author has the truth; if it is away, the sender
    /// is asked, once in a while, since the fault may lie in a state held here that the author has left behind.
    fn ask_again(
        &mut self,
        from: HostId,
        of: (HostId, Mark),
        reason: Discarded,
        now: Moment,
        out: &mut Outcome,
    ) {
        let (author, mark) = of;
        match reason {
            Discarded::Gap => self.ask_rest(from, author, mark, now, out),
            _ if self.peers.is_alive(author) => self.ask_whole(author, author, now, out),
            _ => self.ask_whole(from, author, now, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use crate::set::{Entries, digest_of};
    use crate::testing::Lenient;
    use crate::testing::{TestKey, host, put};
    use crate::{Effect, Version};

    /// The whole set of host 1 as a delta, ready to be tampered with.
    fn genuine() -> Delta {
        let (me, mut author) = host(1);
        author.publish(vec![put(b"a", b"1"), put(b"b", b"2")], Moment::ZERO);
        author.sets[&me].delta_since(None)
    }

    /// What a receiver that holds nothing says to a delta.
    fn verdict(delta: &Delta) -> Option<Discarded> {
        let (_, mut receiver) = host(2);
        let message = wire::delta_message(delta, 0);
        receiver.receive(TestKey::new(3).id(), &message, Moment::ZERO, &Lenient);
        let reason = receiver.stats().discarded.keys().next().copied();
        assert_eq!(reason.is_some(), receiver.sets.is_empty(), "what was discarded was not applied");
        reason
    }

    /// Makes the digest fit the entries, as a forger who knows the format would.
    fn with_fitting_digest(delta: &mut Delta) {
        let entries: Entries = delta.entries.iter().cloned().collect();
        delta.head.digest = digest_of(&entries);
    }

    #[test]
    fn a_genuine_set_is_taken_from_anyone() {
        assert_eq!(verdict(&genuine()), None);
    }

    #[test]
    fn entries_that_were_altered_added_or_left_out_are_found() {
        let forgeries: [fn(&mut Delta); 3] = [
            |delta| delta.entries[0].1.value = Some(b"9".to_vec()),
            |delta| delta.entries.push((b"c".to_vec(), delta.entries[0].1.clone())),
            |delta| delta.entries.truncate(1),
        ];
        for forge in forgeries {
            let mut delta = genuine();
            forge(&mut delta);
            assert_eq!(verdict(&delta), Some(Discarded::BadDigest));
            with_fitting_digest(&mut delta);
            assert_eq!(verdict(&delta), Some(Discarded::BadSignature));
        }
    }

    #[test]
    fn a_signature_of_another_key_is_worth_nothing() {
        let mut delta = genuine();
        delta.head.version = Version { incarnation: 9, counter: 9 };
        let forged = Head::sign(&TestKey::new(3), delta.head.version, 0, delta.head.digest);
        delta.head.signature = forged.signature;
        assert_eq!(verdict(&delta), Some(Discarded::BadSignature));
    }

    #[test]
    fn an_entry_newer_than_its_head_is_refused_though_signed() {
        let mut delta = genuine();
        delta.entries[0].1.counter = 7;
        with_fitting_digest(&mut delta);
        delta.head = Head::sign(&TestKey::new(1), delta.head.version, 0, delta.head.digest);
        assert_eq!(verdict(&delta), Some(Discarded::BadDigest));
    }

    #[test]
    fn a_delta_without_its_base_is_a_gap_and_the_rest_is_asked_for() {
        let mut delta = genuine();
        delta.since = Some(3);
        assert_eq!(verdict(&delta), Some(Discarded::Gap));
        let (_, mut receiver) = host(2);
        let sender = TestKey::new(3).id();
        let effects = receiver.receive(sender, &wire::delta_message(&delta, 0), Moment::ZERO, &Lenient);
        assert!(matches!(&effects[..], [Effect::Send { to, .. }] if *to == sender));
    }

    #[test]
    fn of_two_states_of_one_version_all_hosts_keep_the_same() {
        let signed = |value: &[u8]| {
            let mut delta = genuine();
            delta.entries[0].1.value = Some(value.to_vec());
            with_fitting_digest(&mut delta);
            delta.head = Head::sign(&TestKey::new(1), delta.head.version, 0, delta.head.digest);
            wire::delta_message(&delta, 0)
        };
        let states = [signed(b"one"), signed(b"other")];
        let after = |order: [usize; 2]| {
            let (_, mut receiver) = host(2);
            let take =
                |at: usize| receiver.receive(TestKey::new(3).id(), &states[at], Moment::ZERO, &Lenient);
            let effects: Vec<_> = order.into_iter().flat_map(take).collect();
            let noticed =
                effects.iter().any(|effect| matches!(effect, Effect::Notice(Notice::TwoStates { .. })));
            (receiver.heads().collect::<Vec<_>>(), noticed)
        };
        let (first, second) = (after([0, 1]), after([1, 0]));
        assert_eq!(first.0, second.0);
        assert!(first.1 != second.1, "the host whose state gave way says so");
    }
}
