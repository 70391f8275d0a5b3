//! Whatever arrives, a set is never one that its author did not sign whole.

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use shoal_facts::{Discarded, Effect, Facts, LoadError};
use shoal_types::Moment;
use world::{Lenient, Stored, World, id, open, put, remove};

/// An author with a history, its messages, and a receiver that holds the first state.
fn author_and_receiver() -> (Facts, Facts, Vec<Vec<u8>>) {
    let mut author = open(0, Stored::new(), Moment::ZERO);
    let mut receiver = open(1, Stored::new(), Moment::ZERO);
    author.set_peers([id(1)].into(), [id(1)].into(), Moment::ZERO);
    let first = sent(author.publish(vec![put("a", "first value"), put("b", "to be removed")], Moment::ZERO));
    let second = sent(author.publish(vec![put("a", "second value"), remove("b")], Moment::ZERO));
    for message in &first {
        receiver.receive(id(0), message, Moment::ZERO, &Lenient);
    }
    let messages = [first, second, author.snapshot_for(id(1))].concat();
    (author, receiver, messages)
}

fn sent(effects: Vec<Effect>) -> Vec<Vec<u8>> {
    let message = |effect| match effect {
        Effect::Send { message, .. } => Some(message),
        _ => None,
    };
    effects.into_iter().filter_map(message).collect()
}

fn values(facts: &Facts) -> BTreeMap<Vec<u8>, Vec<u8>> {
    facts.of(id(0)).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Gives bytes to a receiver that holds the first state, and checks that it holds a signed state afterwards.
fn holds_a_signed_state_after(
    receiver: &mut Facts,
    author: &Facts,
    first: &BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: &[u8],
) {
    let effects = receiver.receive(id(2), bytes, Moment::ZERO, &Lenient);
    let held = values(receiver);
    assert!(held == *first || held == values(author), "{held:?}");
    let changed = effects.iter().any(|effect| matches!(effect, Effect::Persist { .. } | Effect::Changed(_)));
    assert!(!changed || held == values(author));
}

#[test]
fn a_replayed_old_state_changes_nothing() {
    let (author, mut receiver, messages) = author_and_receiver();
    for message in &messages {
        receiver.receive(id(2), message, Moment::ZERO, &Lenient);
    }
    assert_eq!(values(&receiver), values(&author));
    for message in &messages {
        assert!(receiver.receive(id(2), message, Moment::ZERO, &Lenient).is_empty());
    }
    assert!(receiver.stats().discarded[&Discarded::Stale] >= 3);
}

#[test]
fn a_false_state_is_discarded_and_the_whole_asked_for_once() {
    let (_, mut receiver, messages) = author_and_receiver();
    receiver.set_peers([id(0)].into(), [id(0)].into(), Moment::ZERO);
    let mut forged = messages[1].clone();
    let at = forged.windows(6).position(|part| part == b"second").expect("the value is inside");
    forged[at] ^= 1;
    let effects = receiver.receive(id(2), &forged, Moment::ZERO, &Lenient);
    assert!(matches!(&effects[..], [Effect::Send { to, .. }] if *to == id(0)), "{effects:?}");
    assert!(receiver.receive(id(2), &forged, Moment::ZERO, &Lenient).is_empty());
    assert_eq!(receiver.stats().discarded[&Discarded::BadDigest], 2);
}

#[test]
fn a_key_that_is_not_the_hosts_own_is_refused_at_the_start() {
    let key = std::sync::Arc::new(world::TestKey::new(2));
    let error = Facts::new(id(1), key, Stored::new(), 0, Moment::ZERO).err();
    assert_eq!(error, Some(LoadError::ForeignKey { host: id(1), key: id(2) }));
}

#[test]
fn a_damaged_store_is_noticed() {
    let mut world = World::new(2, 1);
    world.publish(0, vec![put("a", "1")]);
    world.publish(1, vec![put("b", "1")]);
    world.settle();
    let stored = world.host(0).stored.clone();
    for (key, value) in &stored {
        let mut damaged = stored.clone();
        let last = value.len() - 1;
        damaged.get_mut(key).expect("it is there")[last] ^= 1;
        let own = key.windows(16).any(|part| part == id(0).bytes());
        let opened = Facts::new(id(0), std::sync::Arc::new(world::TestKey::new(0)), damaged, 0, Moment::ZERO);
        match opened {
            Err(error) => assert!(own && error == LoadError::OwnSetDamaged { host: id(0) }),
            Ok(mut facts) => {
                assert!(!own, "the own set is never dropped");
                assert_eq!((facts.of(id(1)).count(), facts.stats().discarded[&Discarded::Damaged]), (0, 1));
                let effects = facts.tick(facts.next_timeout().expect("what was dropped is to be removed"));
                assert!(matches!(&effects[0], Effect::Persist { writes, .. } if writes.len() == 2));
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (author, mut receiver, _) = author_and_receiver();
        let first = values(&receiver);
        holds_a_signed_state_after(&mut receiver, &author, &first, &bytes);
        prop_assert_eq!(values(&receiver), first);
    }

    #[test]
    fn an_altered_or_truncated_message_leaves_a_signed_state(
        flips in proptest::collection::vec((any::<u16>(), 1..=255_u8), 1..4),
        cut in any::<u16>(),
        which in 0..3_usize,
    ) {
        let (author, mut receiver, messages) = author_and_receiver();
        let first = values(&receiver);
        let mut message = messages[which].clone();
        for (at, flip) in flips {
            let at = usize::from(at) % message.len();
            message[at] ^= flip;
        }
        holds_a_signed_state_after(&mut receiver, &author, &first, &message);
        message.truncate(usize::from(cut) % (message.len() + 1));
        holds_a_signed_state_after(&mut receiver, &author, &first, &message);
        holds_a_signed_state_after(&mut receiver, &author, &first, &messages[which]);
    }
}
