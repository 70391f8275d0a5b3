//! dockerd's verbs, and the one that may be held for a moment.
//!
//! A container that insists on an address of another host's range (`--ip`) could start only at the second try, if the
//! first one was answered at once: the address is asked for when the engine tells of the new container, and it arrives
//! about when dockerd asks for it. Such a call is held for [`HOLD_MAX`], if the owner is alive; no other call waits for
//! anyone.

use std::time::Duration;

use shoal_fabric::{Effect, HostState};
use shoal_networks::{Refusal, Reply, Verb};
use shoal_types::Moment;
use tokio::sync::oneshot;

use super::owner::Agent;

/// How long a call for another host's address may be held.
const HOLD_MAX: Duration = Duration::from_millis(150);

/// Calls that may be held at once; more are answered as they are.
const HELD_MAX: usize = 256;

/// A call that waits for a gift.
pub(crate) struct Held {
    verb: Verb,
    refusal: Refusal,
    pub(crate) until: Moment,
    reply: oneshot::Sender<Result<Reply, Refusal>>,
}

impl Agent {
    /// Decides a verb of dockerd and answers it.
    pub(crate) async fn verb(&mut self, verb: Verb, reply: oneshot::Sender<Result<Reply, Refusal>>) {
        let at = self.at();
        let (effects, decided) = self.fabric.verb(verb.clone(), at);
        let hold = decided.is_err() && self.held.len() < HELD_MAX && self.is_worth_waiting(&verb, &effects);
        let done = self.perform(effects).await.and_then(|()| self.flush()).map_err(Refusal);
        match done.and(decided) {
            Err(refusal) if hold => self.held.push(Held { verb, refusal, until: at.now + HOLD_MAX, reply }),
            answer => drop(reply.send(answer)),
        }
    }

    /// Tries held calls again: a gift may have arrived.
    pub(crate) async fn try_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            let at = self.at();
            let (effects, decided) = self.fabric.verb(held.verb.clone(), at);
            let owned = decided.is_ok();
            // The address has been asked for already; a second time would only be refused a second time.
            let effects = if owned { effects } else { Vec::new() };
            let done = self.perform(effects).await.and_then(|()| self.flush()).map_err(Refusal);
            match done.and(decided) {
                Err(_) if at.now < held.until && !owned => self.held.push(held),
                Err(_) if !owned => drop(held.reply.send(Err(held.refusal))),
                answer => drop(held.reply.send(answer)),
            }
        }
    }

    /// Whether a call was refused only because another host, which is alive, owns the address.
    fn is_worth_waiting(&self, verb: &Verb, effects: &[Effect]) -> bool {
        let Verb::RequestAddress { address: Some(_), gateway: false, .. } = verb else { return false };
        let asked = effects.iter().find_map(|effect| match effect {
            Effect::Message(owner, _) => Some(*owner),
            _ => None,
        });
        let alive =
            |owner| self.fabric.hosts().iter().any(|host| host.id == owner && host.state == HostState::Alive);
        asked.is_some_and(alive)
    }
}
