//! The disk, on a thread of its own: a flush takes milliseconds, and a disk in trouble takes seconds.
//!
//! Decisions go on while a batch is being written. What they want kept is gathered meanwhile and goes together in the
//! next batch, so fifty calls at once cost two flushes, not fifty. Whatever must not be done or told before it is kept
//! waits for a ticket: the number of the batch that holds everything decided so far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::time::Duration;

use shoal_fabric::{Effect, Writes};
use shoal_ports::{Entry, Store, StoreError, Write};
use tokio::sync::{mpsc as channel, oneshot};

use super::Input;
use super::commands::Told;
use super::owner::{Agent, Waiting};

/// What may wait for a disk that says nothing before messages to other hosts are given up; they ask again.
const BEHIND_MAX: usize = 10_000;

/// Writes and whose turn it is, without the disk itself.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Not written yet, in their order.
    unsaved: VecDeque<Write>,
    /// The first of these were refused before.
    refused: usize,
    /// The batch that is being written.
    under_way: Option<Vec<Write>>,
    /// The number of the newest batch that was begun.
    begun: u64,
    /// Somebody waits for what is unsaved.
    wanted: bool,
}

impl Ledger {
    /// Notes what is to be kept.
    pub(crate) fn keep(&mut self, writes: impl IntoIterator<Item = Write>) {
        let before = self.unsaved.len();
        self.unsaved.extend(writes);
        self.wanted |= self.unsaved.len() > before;
    }

    /// The batch after which everything noted so far is kept; `None`: it is.
    pub(crate) fn ticket(&mut self) -> Option<u64> {
        if self.unsaved.is_empty() {
            return self.under_way.as_ref().map(|_| self.begun);
        }
        self.wanted = true;
        Some(self.begun + 1)
    }

    /// The next batch to write: one at a time, and what was refused only for somebody's sake.
    pub(crate) fn next(&mut self) -> Option<(u64, Vec<Write>)> {
        if self.under_way.is_some() || !std::mem::take(&mut self.wanted) {
            return None;
        }
        let batch = Vec::from(std::mem::take(&mut self.unsaved));
        self.begun += 1;
        self.under_way = Some(batch.clone());
        Some((self.begun, batch))
    }

    /// The batch under way is kept, or nothing of it is: then it goes first in the next one, so that memory and disk
    /// differ only while the disk refuses everything.
    pub(crate) fn written(&mut self, kept: bool) {
        let batch = self.under_way.take().unwrap_or_default();
        self.refused = 0;
        if !kept {
            self.refused = batch.len();
            batch.into_iter().rev().for_each(|write| self.unsaved.push_front(write));
        }
    }

    /// Has what was refused tried again.
    pub(crate) fn retry(&mut self) {
        self.wanted |= !self.unsaved.is_empty();
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether everything noted is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.unsaved.is_empty() && self.under_way.is_none()
    }

    /// How many writes the disk has refused and not taken since.
    pub(crate) fn refused(&self) -> usize {
        self.refused
    }

    /// What will be stored under a prefix, given what is.
    pub(crate) fn over(&self, stored: Vec<Entry>, prefix: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut entries: BTreeMap<_, _> = stored.into_iter().collect();
        let unsaved = self.under_way.iter().flatten().chain(&self.unsaved);
        for Write { key, value } in unsaved.filter(|write| write.key.starts_with(prefix)) {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
        entries
    }
}

/// A handle to the thread, which ends with it.
#[derive(Debug)]
pub(crate) struct Disk {
    work: mpsc::Sender<(u64, Vec<Write>)>,
}

impl Disk {
    /// Starts the thread. What came of a batch is an input.
    pub(crate) fn start(
        mut store: impl Store + 'static,
        inputs: channel::Sender<Input>,
    ) -> std::io::Result<Self> {
        let (work, inbox) = mpsc::channel::<(u64, Vec<Write>)>();
        let body = move || {
            while let Ok((number, batch)) = inbox.recv() {
                let result = store.write(&batch);
                if inputs.blocking_send(Input::Written(number, result)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("disk".into()).spawn(body)?;
        Ok(Self { work })
    }

    fn write(&self, number: u64, batch: Vec<Write>) {
        // A thread that ended is one whose agent ends.
        let _ = self.work.send((number, batch));
    }
}

/// What is done or told once everything that was decided before it is kept.
pub(crate) enum After {
    /// An effect.
    Do(Effect),
    /// An answer to an operator.
    Tell(Told),
    /// A host is told that it is let in.
    LetIn(Vec<u8>, oneshot::Sender<Result<Vec<u8>, String>>),
    /// An operator waits for more than the disk.
    Wait(Waiting),
}

impl Agent {
    /// Notes what is to be kept.
    pub(crate) fn keep(&mut self, writes: Writes) {
        self.ledger.keep(writes.into_iter().map(|(key, value)| Write { key, value }));
    }

    /// Has everything that is kept under a prefix removed.
    pub(crate) fn clear(&mut self, prefix: &[u8]) {
        match self.kept_under(prefix) {
            Ok(entries) => self.keep(entries.into_keys().map(|key| (key, None)).collect()),
            Err(error) => self.notice(error.to_string()),
        }
    }

    /// What is kept under a prefix, or will be in a moment.
    pub(crate) fn kept_under(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        Ok(self.ledger.over(self.parts.store.scan(prefix)?, prefix))
    }

    /// Does something once all that was decided is kept.
    pub(crate) fn once_kept(&mut self, after: After) {
        match self.ledger.ticket() {
            Some(_) if self.behind.len() >= BEHIND_MAX && matches!(after, After::Do(Effect::Message(..))) => {
                self.tally.messages_given_up += 1;
            }
            Some(ticket) => self.behind.push_back((ticket, after)),
            None => self.follow(after),
        }
    }

    /// Whether the transport is still to be told whom this host trusts, or whose it is.
    pub(crate) fn is_trust_behind(&self) -> bool {
        let is_trust = |after: &After| matches!(after, After::Do(Effect::Certificate(_) | Effect::Trust(_)));
        self.behind.iter().any(|(_, after)| is_trust(after))
    }

    fn follow(&mut self, after: After) {
        match after {
            After::Do(effect) => self.carry_out_kept(effect),
            After::Tell(told) => told.send(),
            After::LetIn(welcome, reply) => drop(reply.send(Ok(welcome))),
            After::Wait(waiting) => self.waiting.push(waiting),
        }
    }

    /// Gives the disk what is to be kept, if it has nothing to do.
    pub(crate) fn write_on(&mut self) {
        if let Some((number, batch)) = self.ledger.next() {
            self.writing_since = self.parts.clock.now();
            self.parts.disk.write(number, batch);
        }
    }

    /// For how long the disk has said nothing of a batch.
    pub(crate) fn disk_silent_for(&self) -> Option<Duration> {
        self.ledger.is_writing().then(|| self.parts.clock.now().since(self.writing_since))
    }

    /// A batch is on the disk, or refused.
    pub(crate) fn written(&mut self, number: u64, result: Result<(), StoreError>) {
        self.ledger.written(result.is_ok());
        let waited = self.behind.iter().take_while(|(ticket, _)| *ticket <= number).count();
        let waited: Vec<After> = self.behind.drain(..waited).map(|(_, after)| after).collect();
        match result {
            Ok(()) => {
                waited.into_iter().for_each(|after| self.follow(after));
                self.answer_kept(number, None);
                self.settle_owed();
            }
            Err(error) => {
                let reason = format!("shoal cannot keep its state: {error}");
                self.tally.failed_writes += 1;
                self.answer_kept(number, Some(&reason));
                self.put_off(waited, &reason);
                self.notice(reason);
            }
        }
    }

    /// Nothing of what waited for a refused batch is done or promised.
    fn put_off(&mut self, waited: Vec<After>, reason: &str) {
        let now = self.parts.clock.now();
        if self.owed.due().is_some_and(|due| due <= now) {
            self.owed.refused(now);
        }
        let mut effects = Vec::new();
        for after in waited {
            match after {
                After::Do(effect) => effects.push(effect),
                After::Tell(told) => told.refuse(reason),
                After::LetIn(_, reply) => drop(reply.send(Err(reason.to_owned()))),
                After::Wait(waiting) => waiting.refuse(reason),
            }
        }
        let all_the_same = self.owed.put_off(effects, now);
        self.perform(all_the_same);
    }

    /// The disk writes again: does what was put off while it refused.
    fn settle_owed(&mut self) {
        if self.owed.due().is_some() {
            let mut effects = self.fabric.restate(self.at());
            effects.extend(self.owed.settle());
            self.perform(effects);
        }
    }

    /// Tries a disk again that has refused.
    pub(crate) fn try_disk_again(&mut self) {
        let now = self.parts.clock.now();
        if self.owed.due().is_some_and(|due| due <= now) {
            self.ledger.retry();
        }
    }
}

#[cfg(test)]
mod tests;
