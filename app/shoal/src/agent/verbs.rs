//! dockerd's verbs, and the one that may be held for a moment.
//!
//! A verb is decided at once. What it changed in the kernel is waited for by its answer alone, not by the loop.
//!
//! A container that insists on an address of another host's range (`--ip`) could start only at the second try, if the
//! first one was answered at once: the address is asked for when the engine tells of the new container, and it arrives
//! about when dockerd asks for it. Such a call is held for [`HOLD_MAX`], if the owner is alive; no other call waits
//! for anyone.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_fabric::{Effect, HostState};
use shoal_networks::{Refusal, Reply, Verb};
use shoal_types::Moment;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Input;
use super::kernel::Refused;
use super::owner::Agent;

/// How long a call for another host's address may be held.
const HOLD_MAX: Duration = Duration::from_millis(150);

/// Calls that may be held at once; more are answered as they are.
const HELD_MAX: usize = 256;

/// How long the agent, told to end, waits for what is under way in the kernel.
const LAST_WITHIN: Duration = Duration::from_secs(1);

/// Batches of changes, by number, that must be done before an answer leaves.
pub(crate) type Awaited = BTreeSet<u64>;

/// A call that was decided, and waits for the kernel.
pub(crate) struct Awaiting {
    batches: Awaited,
    answer: Result<Reply, Refusal>,
    reply: oneshot::Sender<Result<Reply, Refusal>>,
}

/// A call that waits for a gift.
pub(crate) struct Held {
    verb: Verb,
    refusal: Refusal,
    pub(crate) until: Moment,
    reply: oneshot::Sender<Result<Reply, Refusal>>,
}

impl Agent {
    /// Decides a verb of dockerd and answers it.
    pub(crate) fn verb(&mut self, verb: Verb, reply: oneshot::Sender<Result<Reply, Refusal>>) {
        let at = self.at();
        let (effects, decided) = self.fabric.verb(verb.clone(), at);
        let hold = decided.is_err() && self.held.len() < HELD_MAX && self.is_worth_waiting(&verb, &effects);
        match self.carry_out_verb(effects, decided) {
            (Err(refusal), _) if hold => {
                self.held.push(Held { verb, refusal, until: at.now + HOLD_MAX, reply });
            }
            (answer, batches) => self.answer_after(Awaiting { batches, answer, reply }),
        }
    }

    /// Tries held calls again: a gift may have arrived.
    pub(crate) fn try_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            let at = self.at();
            let (effects, decided) = self.fabric.verb(held.verb.clone(), at);
            let owned = decided.is_ok();
            // The address has been asked for already; a second time would only be refused a second time.
            let effects = if owned { effects } else { Vec::new() };
            match self.carry_out_verb(effects, decided) {
                (Err(_), _) if at.now < held.until && !owned => self.held.push(held),
                (Err(_), _) if !owned => drop(held.reply.send(Err(held.refusal))),
                (answer, batches) => self.answer_after(Awaiting { batches, answer, reply: held.reply }),
            }
        }
    }

    /// Does what was decided. Returns the answer, and what it must wait for.
    fn carry_out_verb(
        &mut self,
        effects: Vec<Effect>,
        decided: Result<Reply, Refusal>,
    ) -> (Result<Reply, Refusal>, Awaited) {
        let done = self.perform(effects).and_then(|awaited| self.flush().map(|()| awaited));
        match done {
            Ok(awaited) => (decided, awaited),
            Err(reason) => (Err(Refusal(reason)), Awaited::new()),
        }
    }

    fn answer_after(&mut self, awaiting: Awaiting) {
        if awaiting.batches.is_empty() {
            drop(awaiting.reply.send(awaiting.answer));
        } else {
            self.awaiting.push(awaiting);
        }
    }

    /// A batch is done: answers the calls that have waited for it.
    pub(crate) fn answer_awaiting(&mut self, number: u64, refused: &Refused) {
        let failure = refused.first().map(|(_, error)| Refusal(error.to_string()));
        for mut awaiting in std::mem::take(&mut self.awaiting) {
            if awaiting.batches.remove(&number)
                && let Some(failure) = &failure
            {
                awaiting.answer = Err(failure.clone());
            }
            self.answer_after(awaiting);
        }
    }

    /// Answers what is still under way when the agent ends; calls that come now are told that it does.
    pub(crate) async fn answer_last(&mut self, inbox: &mut mpsc::Receiver<Input>) {
        let until = Instant::now() + LAST_WITHIN;
        while !self.awaiting.is_empty() {
            match timeout_at(until, inbox.recv()).await {
                Ok(Some(Input::Applied(number, refused))) => self.applied(number, &refused),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
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
