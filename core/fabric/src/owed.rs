//! What is still owed of a decision after the disk refused a write.
//!
//! What the cores want is a state, so little of a decision need be remembered: the writes, which whoever performs
//! effects keeps in their order and tries first next time, and requests to the engine, of which nothing repeats the
//! removals when a host leaves. All else is told anew by [`Fabric::restate`] once the disk writes again.

use std::time::Duration;

use shoal_networks::EngineRequest;
use shoal_types::Moment;

use crate::{At, Effect, Fabric};

/// First and longest pause before the disk is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The most requests to the engine that are kept.
const REQUESTS_MAX: usize = 1024;

/// What is owed, and when the disk is tried again.
#[derive(Debug, Default)]
pub struct Owed {
    requests: Vec<EngineRequest>,
    due: Option<Moment>,
    refusals: u32,
}

impl Owed {
    /// A write was refused, and `rest` is what followed in the decision. Returns what of it is carried out all the
    /// same: writes, which are kept with the refused one in any case, and what people must hear.
    pub fn put_off(&mut self, rest: impl IntoIterator<Item = Effect>, now: Moment) -> Vec<Effect> {
        let mut all_the_same = Vec::new();
        for effect in rest {
            match effect {
                Effect::Save { .. } | Effect::Clear(_) | Effect::Notice(_) | Effect::Stop(_) => {
                    all_the_same.push(effect);
                }
                Effect::Engine(request) if self.requests.len() < REQUESTS_MAX => self.requests.push(request),
                // `Fabric::restate` tells these anew; messages and datagrams may get lost.
                Effect::Engine(_)
                | Effect::Project(_)
                | Effect::ProjectSoon
                | Effect::Datagram(..)
                | Effect::Message(..)
                | Effect::DrawTunnelKeys
                | Effect::Certificate(_)
                | Effect::Trust(_) => {}
            }
        }
        if self.due.is_none() {
            self.due = Some(now + RETRY.0);
        }
        all_the_same
    }

    /// When the disk is to be tried again; `None`: nothing is owed.
    pub fn due(&self) -> Option<Moment> {
        self.due
    }

    /// The disk refused again.
    pub fn refused(&mut self, now: Moment) {
        self.refusals = self.refusals.saturating_add(1);
        self.due = Some(now + RETRY.0.saturating_mul(1 << self.refusals.min(10)).min(RETRY.1));
    }

    /// The disk has written everything: what is to be done now, besides [`Fabric::restate`].
    pub fn settle(&mut self) -> Vec<Effect> {
        let requests = std::mem::take(self).requests;
        requests.into_iter().map(Effect::Engine).collect()
    }
}

impl Fabric {
    /// Everything that the machine must be told, whatever it was told before: after effects were not carried out.
    pub fn restate(&mut self, at: At) -> Vec<Effect> {
        self.next_reconcile = at.now;
        self.tunnels.keys_not_drawn();
        let Some(member) = &self.member else { return vec![Effect::Certificate(None), Effect::ProjectSoon] };
        let out = member.trust.forgotten.contains(&self.me);
        let certificate = Some(member.identity.certificate.clone()).filter(|_| !out);
        let mut effects = vec![Effect::Trust(member.trust.clone()), Effect::Certificate(certificate)];
        effects.extend(self.call_everyone(at));
        effects.push(Effect::ProjectSoon);
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_decision_that_was_broken_off_writes_go_on_and_requests_wait() {
        let save = || Effect::Save { writes: vec![(b"k".to_vec(), None)], durable: true };
        let notice = || Effect::Notice("n".into());
        let mut owed = Owed::default();
        let rest = [Effect::Engine(EngineRequest::List), save(), Effect::ProjectSoon, notice()];
        assert_eq!(owed.put_off(rest, Moment::ZERO), [save(), notice()]);
        assert_eq!(owed.due(), Some(Moment::ZERO + RETRY.0));
        assert_eq!(owed.settle(), [Effect::Engine(EngineRequest::List)]);
        assert_eq!((owed.due(), owed.settle()), (None, Vec::new()));
    }

    #[test]
    fn the_disk_is_tried_again_with_longer_pauses() {
        let mut owed = Owed::default();
        owed.put_off([], Moment::ZERO);
        let pauses: Vec<Duration> = (0..8)
            .map(|_| {
                owed.refused(Moment::ZERO);
                owed.due().unwrap().since(Moment::ZERO)
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] == RETRY.0 * 2 && pauses[7] == RETRY.1, "{pauses:?}");
    }
}
