//! dockerd's verbs, and the one that may be held for a moment.
//!
//! A verb is decided at once. What it changed in the kernel and on the disk is waited for by its answer alone, not by
//! the loop.
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

/// How long an answer waits for a disk that says nothing.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// How long the agent, told to end, waits for what is under way in the kernel and on the disk.
const LAST_WITHIN: Duration = Duration::from_secs(1);

/// An answer to dockerd.
type Answered = Result<Reply, Refusal>;

/// Batches of changes, by number, that must be done before an answer leaves.
pub(crate) type Awaited = BTreeSet<u64>;

/// A call that was decided, and waits for the kernel and the disk.
pub(crate) struct Awaiting {
    batches: Awaited,
    /// The disk's batch, and until when it is waited for.
    kept: Option<(u64, Moment)>,
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
        let batches = self.perform(effects);
        match decided {
            Err(refusal) if hold => self.held.push(Held { verb, refusal, until: at.now + HOLD_MAX, reply }),
            answer => self.answer(batches, answer, reply),
        }
    }

    /// Tries held calls again: a gift may have arrived.
    pub(crate) fn try_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            let at = self.at();
            let (effects, decided) = self.fabric.verb(held.verb.clone(), at);
            match decided {
                Ok(answer) => {
                    let batches = self.perform(effects);
                    self.answer(batches, Ok(answer), held.reply);
                }
                // The address has been asked for already; a second time would only be refused a second time.
                Err(_) if at.now < held.until => self.held.push(held),
                Err(_) => drop(held.reply.send(Err(held.refusal))),
            }
        }
    }

    /// Answers a call once what it promises is kept and in the kernel. A repeated call may find nothing to do any more,
    /// because memory is ahead of the disk, and promises the same.
    fn answer(&mut self, batches: Awaited, answer: Result<Reply, Refusal>, reply: oneshot::Sender<Answered>) {
        let until = self.parts.clock.now() + DISK_PATIENCE;
        let kept = if answer.is_ok() { self.ledger.ticket() } else { None };
        self.answer_after(Awaiting { batches, kept: kept.map(|ticket| (ticket, until)), answer, reply });
    }

    fn answer_after(&mut self, awaiting: Awaiting) {
        if awaiting.batches.is_empty() && awaiting.kept.is_none() {
            drop(awaiting.reply.send(awaiting.answer));
        } else {
            self.awaiting.push(awaiting);
        }
    }

    /// A batch is kept, or refused for a reason: answers the calls that have waited for it.
    pub(crate) fn answer_kept(&mut self, number: u64, refused: Option<&str>) {
        for mut awaiting in std::mem::take(&mut self.awaiting) {
            if awaiting.kept.is_some_and(|(ticket, _)| ticket <= number) {
                awaiting.kept = None;
                if let Some(reason) = refused {
                    awaiting.answer = Err(Refusal(reason.into()));
                }
            }
            self.answer_after(awaiting);
        }
    }

    /// Refuses calls for which the disk has said nothing for too long: dockerd would wait for ever.
    pub(crate) fn give_disk_up(&mut self) {
        let now = self.parts.clock.now();
        for mut awaiting in std::mem::take(&mut self.awaiting) {
            if awaiting.kept.is_some_and(|(_, until)| until <= now) {
                let folder = self.parts.settings.state_dir.display();
                let reason = format!("shoal cannot keep its state: the disk of {folder} does not answer");
                awaiting.kept = None;
                awaiting.answer = Err(Refusal(reason));
            }
            self.answer_after(awaiting);
        }
    }

    /// When the first call is refused for that.
    pub(crate) fn disk_given_up(&self) -> Option<Moment> {
        self.awaiting.iter().filter_map(|it| it.kept).map(|(_, until)| until).min()
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
        self.write_on();
        while !(self.awaiting.is_empty() && self.ledger.is_kept()) {
            match timeout_at(until, inbox.recv()).await {
                Ok(Some(Input::Applied(number, refused))) => self.applied(number, &refused),
                Ok(Some(Input::Written(number, result))) => {
                    self.written(number, result);
                    self.write_on();
                }
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
