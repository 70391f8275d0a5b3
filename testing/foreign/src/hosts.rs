//! What other hosts send, and what was stored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shoal_facts::{Facts, HeadView, Judge, Signer};
use shoal_membership::Membership;
use shoal_networks::Record;
use shoal_schema::Fact;
use shoal_transport::{FrameKind, shown_sentence};
use shoal_trust::HostKey;
use shoal_types::{HostId, Moment};

use crate::parts;

/// A fact's key, then its value. What can be read writes back to what reads the same, under the same key.
pub(crate) fn fact(bytes: &[u8]) {
    let [key, value] = parts(bytes)[..] else { return };
    let Ok(fact) = Fact::decode(key, value) else { return };
    assert_eq!(fact.key().as_bytes(), key, "a fact has one key");
    let again = Fact::decode(key, &fact.encode()).expect("a fact that was read can be written and read");
    // Text for people may be cut when it is written, so the second writing must be the first.
    assert_eq!(again.encode(), fact.encode());
}

/// A run of replication messages from another host. Whatever they were, what is held then can be handed to a third
/// host, which takes it: so it is whole and signed.
pub(crate) fn facts_messages(bytes: &[u8]) {
    let mut facts = new_facts(2);
    let mut now = Moment::ZERO;
    for message in parts(bytes) {
        now = now + Duration::from_millis(50);
        facts.receive(host(1), message, now, &Everybody);
        facts.tick(now);
    }
    let mut third = new_facts(3);
    for message in facts.snapshot_for(host(3)) {
        third.receive(host(2), &message, now, &Everybody);
    }
    let heads =
        |facts: &Facts| facts.heads().filter(|head| head.author == host(1)).collect::<Vec<HeadView>>();
    assert_eq!(heads(&facts), heads(&third), "what is held is what its author signed");
}

/// A run of membership packets from another host.
pub(crate) fn membership_packets(bytes: &[u8]) {
    let mut membership = Membership::new(host(2), 1, 2);
    let mut now = Moment::ZERO;
    for packet in parts(bytes) {
        now = now + Duration::from_millis(50);
        membership.receive(host(1), packet, now);
        membership.tick(now);
    }
    assert!(membership.alive().is_subset(membership.known()), "who is alive is known");
}

/// The number of a kind of frame, then a frame's bytes; or, after the last number, a sentence. What is read writes back
/// to what reads the same, and a sentence can be printed.
pub(crate) fn transport_frame(bytes: &[u8]) {
    let Some((number, frame)) = bytes.split_first() else { return };
    let Some(kind) = FrameKind::ALL.get(usize::from(*number) % (FrameKind::ALL.len() + 1)) else {
        let shown = shown_sentence(frame);
        let length = shown.chars().count();
        assert!((1..=400).contains(&length) && !shown.contains(char::is_control), "{shown:?}");
        return;
    };
    match kind.rewritten(frame) {
        Ok(written) => assert_eq!(kind.rewritten(&written), Ok(written.clone()), "{kind:?}"),
        Err(sentence) => assert!(!sentence.is_empty(), "a refusal is a sentence"),
    }
}

/// A record that this host stored earlier.
pub(crate) fn stored_record(bytes: &[u8]) {
    let Some(record) = Record::decode(bytes) else { return };
    let again = Record::decode(&record.encode()).expect("a record that was read can be written and read");
    assert_eq!(again.encode(), record.encode());
    assert!(!again.key().is_empty());
}

/// A judge that lets everybody in, so that only signatures keep foreign facts out.
pub(crate) struct Everybody;

impl Judge for Everybody {
    fn admits(&self, _: HostId, _: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
}

/// The key of host number `n`.
pub(crate) fn key(n: u8) -> HostKey {
    HostKey::from_seed([n; 32])
}

/// Host number `n`.
pub(crate) fn host(n: u8) -> HostId {
    key(n).id()
}

/// The replica of host number `n`, which knows hosts 1 to 3.
pub(crate) fn new_facts(n: u8) -> Facts {
    let signer = Arc::new(Key(key(n)));
    let mut facts = Facts::new(host(n), signer, [], n.into(), Moment::ZERO).expect("nothing was stored");
    let all: BTreeSet<HostId> = [host(1), host(2), host(3)].into();
    facts.set_peers(all.clone(), all, Moment::ZERO);
    facts
}

struct Key(HostKey);

impl Signer for Key {
    fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}
