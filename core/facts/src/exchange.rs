//! Finding where two hosts differ: digests, lists, wants. No step keeps a session; a lost message costs a round.
//!
//! ```text
//!   a round:   A ── hash of everything ─────────────────> B
//!              A <─ equal: nothing; else 16 hashes ────── B    (a list, if B holds few)
//!              A ── hashes of the ranges that differ ──> B     (lists at the leaves)
//!              A <─ wants, and a list of where A is behind ─ B
//!              A ── deltas, wants ─────────────────────> B
//!              A <─ deltas ────────────────────────────── B
//! ```

use std::collections::BTreeSet;

use prost::Message as _;
use shoal_types::{HostId, Moment};

use crate::digest::{self, Answer};
use crate::head::Mark;
use crate::limits::{ANSWERS_MAX, ITEMS_MAX, RANGES_MAX};
use crate::outcome::Outcome;
use crate::stats::Discarded;
use crate::wire::{Delta, Leaf, Leaves, Message, Range, pack_deltas};
use crate::{AUTHORS_MAX, Facts, Judge, MESSAGE_BYTES_MAX, WANT_PATIENCE};

impl Facts {
    pub(crate) fn take_message(
        &mut self,
        from: HostId,
        bytes: &[u8],
        now: Moment,
        judge: &dyn Judge,
        out: &mut Outcome,
    ) {
        self.counters.messages_received += 1;
        self.counters.bytes_received += bytes.len() as u64;
        if self.forgotten.contains(&from) {
            return self.counters.discard(Discarded::Forgotten);
        }
        let message = (bytes.len() <= MESSAGE_BYTES_MAX).then(|| Message::decode(bytes));
        let Some(Ok(message)) = message else { return self.counters.discard(Discarded::Malformed) };
        for delta in message.deltas {
            self.take_delta(from, delta, now, judge, out);
        }
        let mut reply = Message::default();
        for range in message.ranges.iter().take(RANGES_MAX) {
            self.answer_range(range, &mut reply);
        }
        for leaves in &message.leaves {
            self.answer_leaves(leaves, now, &mut reply);
        }
        if reply != Message::default() {
            out.send(from, reply.encode_to_vec());
        }
        self.answer_wants(from, &message.wants, out);
    }

    /// Opens a comparison with each peer.
    pub(crate) fn send_digest(&mut self, peers: &[HostId], out: &mut Outcome) {
        if peers.is_empty() {
            return;
        }
        let message = Message { ranges: vec![self.root().clone()], ..Message::default() }.encode_to_vec();
        for peer in peers {
            out.send(*peer, message.clone());
        }
    }

    /// Asks `peer` for the whole set of an author, because something sent in the author's name was wrong.
    pub(crate) fn ask_whole(&mut self, peer: HostId, author: HostId, now: Moment, out: &mut Outcome) {
        if self.asked_whole.get(&author, now).is_none() {
            self.asked_whole.insert(author, (), now + WANT_PATIENCE);
            let wants = vec![Leaf::new(author, Mark::default())];
            out.send(peer, Message { wants, ..Message::default() }.encode_to_vec());
        }
    }

    /// Asks `peer` for what leads from the state held to `mark`, which `peer` has.
    pub(crate) fn ask_rest(
        &mut self,
        peer: HostId,
        author: HostId,
        mark: Mark,
        now: Moment,
        out: &mut Outcome,
    ) {
        let wants = Vec::from_iter(self.want(author, mark, now));
        if !wants.is_empty() {
            out.send(peer, Message { wants, ..Message::default() }.encode_to_vec());
        }
    }

    pub(crate) fn mark_of(&self, author: HostId) -> Mark {
        self.held(author).map(|set| set.head.mark()).unwrap_or_default()
    }

    /// The digest that opens a round. Kept, since most rounds find that nothing has changed.
    fn root(&mut self) -> &Range {
        let sets = &self.sets;
        self.root.get_or_insert_with(|| digest::root(sets))
    }

    fn answer_range(&mut self, range: &Range, reply: &mut Message) {
        if range == self.root() {
            return;
        }
        match digest::compare(&self.sets, range) {
            None => self.counters.discard(Discarded::Malformed),
            Some(Answer::Equal) => {}
            Some(Answer::Leaves(leaves)) => reply.leaves.push(leaves),
            Some(Answer::Split(ranges)) => reply.ranges.extend(ranges),
        }
    }

    /// Wants what the peer has newer, and lists what it has older or lacks, so that it can want that. Pulling, not
    /// pushing, because a host that was away compares itself with several peers at once.
    fn answer_leaves(&mut self, theirs: &Leaves, now: Moment, reply: &mut Message) {
        if digest::bounds(&theirs.digits).is_none() {
            return self.counters.discard(Discarded::Malformed);
        }
        let mut level_or_ahead = BTreeSet::new();
        for leaf in theirs.leaves.iter().take(ITEMS_MAX) {
            let Some((author, mark)) = leaf.read() else {
                self.counters.discard(Discarded::Malformed);
                continue;
            };
            let held = self.mark_of(author);
            if mark >= held {
                level_or_ahead.insert(author);
            }
            if mark > held {
                reply.wants.extend(self.want(author, mark, now));
            }
        }
        if theirs.complete {
            let behind = |author: &HostId| !level_or_ahead.contains(author);
            let hints = digest::leaves(&self.sets, theirs.digits.clone(), behind, false);
            if !hints.leaves.is_empty() {
                reply.leaves.push(hints);
            }
        }
    }

    /// What to ask a peer for that has `mark`, unless another was asked a moment ago or the answer would be refused.
    /// The whole set where what is held is no step on the way: own ones, and two states of one version.
    fn want(&mut self, author: HostId, mark: Mark, now: Moment) -> Option<Leaf> {
        let may_ask = !self.forgotten.contains(&author)
            && self.asked.get(&author, now).is_none_or(|asked| *asked < mark)
            && self.refused.get(&author, now) != Some(&mark)
            && (self.sets.len() < AUTHORS_MAX || self.sets.contains_key(&author));
        if !may_ask {
            return None;
        }
        self.asked.insert(author, mark, now + WANT_PATIENCE);
        let held = self.mark_of(author);
        let whole = author == self.me || held.version == mark.version;
        Some(Leaf::new(author, if whole { Mark::default() } else { held }))
    }

    fn answer_wants(&self, from: HostId, wants: &[Leaf], out: &mut Outcome) {
        let deltas = wants.iter().take(ITEMS_MAX).filter_map(|want| {
            let (author, held) = want.read()?;
            let set = self.held(author).filter(|set| set.head.mark() > held)?;
            Some(Delta::new(&set.delta_since(Some(held)), 0))
        });
        for message in pack_deltas(deltas, ANSWERS_MAX) {
            out.send(from, message);
        }
    }
}
