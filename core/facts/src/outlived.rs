//! What an author said in a life that it has lost.
//!
//! A host that was restored from an old backup begins a new incarnation as soon as it hears of a newer state of itself.
//! The one that it hears of first need not be the newest: some peers may have missed the last. So whoever has the new
//! incarnation take the place of an old state hands that back to its author, a few times, as nobody says whether it has
//! arrived. The author tells anew what it must stand by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shoal_types::{HostId, Moment};

use crate::outcome::Outcome;
use crate::own::differences_to;
use crate::set::{Delta, Set};
use crate::{Facts, Notice, wire};

/// After how long it is handed back again.
const AGAIN: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

/// Old states on their way back, by author.
#[derive(Debug, Default)]
pub(crate) struct Outlived(BTreeMap<HostId, (Arc<Set>, usize, Moment)>);

impl Outlived {
    pub(crate) fn due(&self) -> Option<Moment> {
        self.0.values().map(|(_, _, due)| *due).min()
    }
}

impl Facts {
    /// Hands an old state back to the author of a new incarnation.
    pub(crate) fn hand_back(&mut self, author: HostId, old: &Arc<Set>, now: Moment, out: &mut Outcome) {
        out.send(author, wire::delta_message(&old.delta_since(None), 0));
        self.outlived.0.insert(author, (Arc::clone(old), 0, now + AGAIN[0]));
    }

    pub(crate) fn hand_back_again(&mut self, now: Moment, out: &mut Outcome) {
        for (author, (old, tries, due)) in &mut self.outlived.0 {
            if *due <= now {
                out.send(*author, wire::delta_message(&old.delta_since(None), 0));
                *tries += 1;
                *due = now + AGAIN[(*tries).min(AGAIN.len() - 1)];
            }
        }
        self.outlived.0.retain(|_, (_, tries, _)| *tries < AGAIN.len());
    }

    /// A state of this host's life before, later than the one after which it began anew. Returns whether it was one.
    pub(crate) fn take_outlived(&mut self, delta: &Delta, out: &mut Outcome) -> bool {
        let (mark, own) = (delta.head.mark(), self.own_mark());
        let is_later = self.reborn_after.is_some_and(|known| mark > known);
        if !is_later || mark.version.incarnation >= own.version.incarnation || delta.since.is_some() {
            return false;
        }
        let Some(held) = delta.head.is_genuine().then(|| delta.clone().apply_to(None).ok()).flatten() else {
            return false;
        };
        self.reborn_after = Some(mark);
        let lost = differences_to(&held, self.held(self.me), self.me);
        out.notices.push(Notice::Restored { held: mark.version, taken: own.version, lost });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Effect;
    use crate::testing::{Lenient, Store, host, open, put, remove};

    fn sent(effects: &[Effect], to: HostId) -> Vec<Vec<u8>> {
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send { to: host, message } if *host == to => Some(message.clone()),
            _ => None,
        });
        sent.collect()
    }

    fn lost(effects: &[Effect]) -> Vec<Vec<u8>> {
        let lost = effects.iter().filter_map(|effect| match effect {
            Effect::Notice(Notice::Restored { lost, .. }) => Some(lost.iter().map(|it| it.key.clone())),
            _ => None,
        });
        lost.flatten().collect()
    }

    #[test]
    fn what_only_one_peer_had_heard_comes_back_to_a_host_that_heard_another_first() {
        let now = Moment::ZERO;
        let (me, mut before) = host(1);
        let (behind, ahead) = (host(2), host(3));
        let ((behind_id, mut behind), (ahead_id, mut ahead)) = (behind, ahead);
        let mut backup = Store::default();
        before.set_peers([behind_id, ahead_id].into(), [behind_id, ahead_id].into(), now);
        let first = before.publish(vec![put(b"a", b"1")], now);
        backup.keep(&first);
        let second = before.publish(vec![put(b"b", b"1")], now);
        let third = before.publish(vec![put(b"c", b"1"), remove(b"a")], now);
        for message in sent(&first, behind_id).into_iter().chain(sent(&second, behind_id)) {
            behind.receive(me, &message, now, &Lenient);
        }
        for effects in [&first, &second, &third] {
            for message in sent(effects, ahead_id) {
                ahead.receive(me, &message, now, &Lenient);
            }
        }

        // Restored, it hears the older one of two newer states.
        let mut again = open(1, &backup, now);
        again.set_peers([behind_id, ahead_id].into(), [behind_id, ahead_id].into(), now);
        let heard: Vec<Effect> = behind
            .snapshot_for(me)
            .into_iter()
            .flat_map(|message| again.receive(behind_id, &message, now, &Lenient))
            .collect();
        assert_eq!(lost(&heard), [b"b".to_vec()]);

        // The other peer takes the new incarnation, and hands back what that does not know.
        let taken: Vec<Effect> = sent(&heard, ahead_id)
            .iter()
            .flat_map(|message| ahead.receive(me, message, now, &Lenient))
            .collect();
        let back = sent(&taken, me);
        assert_eq!(back.len(), 1);
        let learned = again.receive(ahead_id, &back[0], now, &Lenient);
        assert!(lost(&learned).contains(&b"c".to_vec()));
        let twice = again.receive(ahead_id, &back[0], now, &Lenient);
        assert!(lost(&twice).is_empty(), "it is told once");

        // Again, a few times, in case it got lost.
        let times = (1..400).filter(|second| {
            let at = now + Duration::from_secs(*second);
            !sent(&ahead.tick(at), me).iter().all(|message| *message != back[0])
        });
        assert_eq!(times.count(), AGAIN.len());
    }
}
