//! The kernel, on three threads of its own: its calls block.
//!
//! ```text
//!   one container's link and addresses ──> quick ────┐
//!   one container's link goes ───────────> removal ──┼── one kernel
//!   plans, tunnels, audits, counters ────> slow ─────┘
//! ```
//!
//! While a process that encrypts does not answer, the slow thread waits for seconds, and the kernel takes some 20 ms to
//! remove a link; dockerd, which waits for a container's link, waits for neither. Each thread takes its work in order.
//! Between them the newest word about a link or an address wins: a batch has a number, given where it was decided, and
//! skips what a batch of a higher number has changed already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use shoal_plan::{Change, EndpointKey, Observed};
use shoal_ports::{Counters, Kernel, KernelError};
use shoal_types::LinkName;
use tokio::sync::oneshot;

/// Changes that the kernel refused, with its reasons.
pub(crate) type Refused = Vec<(Change, KernelError)>;

/// Changes to apply in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Higher than that of any batch decided before.
    pub(crate) number: u64,
    /// Every batch of a lower number was done when this one was decided.
    pub(crate) all_done_below: u64,
    /// What to do.
    pub(crate) changes: Vec<Change>,
}

/// Whose turn a batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Changes to links and addresses only: a container that waits.
    Quick,
    /// Removals of links, for which nobody waits.
    Removal,
    /// Everything else.
    Slow,
}

enum Work {
    Apply(Batch, oneshot::Sender<Refused>),
    Observe(oneshot::Sender<Result<Observed, KernelError>>),
    Counters(oneshot::Sender<Result<Counters, KernelError>>),
}

/// How long a removal gives way to containers that wait.
const REMOVAL_GIVES_WAY: Duration = Duration::from_secs(1);

/// Batches of the quick lane that are not done. The kernel makes and removes links one at a time, so a removal that
/// has begun holds the next container up for as long as it takes.
#[derive(Default)]
struct Waiting {
    batches: Mutex<usize>,
    none: Condvar,
}

impl Waiting {
    fn change(&self, by: impl FnOnce(&mut usize)) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        by(&mut batches);
        if *batches == 0 {
            self.none.notify_all();
        }
    }

    /// Lets those that wait go first, for a while.
    fn give_way(&self) {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        // What comes of the wait makes no difference.
        drop(self.none.wait_timeout_while(batches, REMOVAL_GIVES_WAY, |batches| *batches > 0));
    }
}

/// A handle to the threads. Work is queued by the call itself, in the order of calls; what it returns need not be
/// waited for. The threads end with the last clone.
#[derive(Clone)]
pub(crate) struct KernelThreads {
    quick: mpsc::Sender<Work>,
    removal: mpsc::Sender<Work>,
    slow: mpsc::Sender<Work>,
    waiting: Arc<Waiting>,
}

impl KernelThreads {
    /// Starts the threads and has the slow one open the kernel, which may take a second; work waits until it is open.
    /// The receiver tells what came of it.
    pub(crate) fn start<K: Kernel + 'static>(
        open: impl FnOnce() -> Result<K, KernelError> + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<Result<(), KernelError>>), KernelError> {
        let (slow, slow_inbox) = mpsc::channel();
        let (opened, outcome) = oneshot::channel();
        let shared = Arc::new(OnceLock::new());
        let waiting = Arc::new(Waiting::default());
        let once_open = |name, lane, barrier: mpsc::Receiver<()>| {
            let (work, inbox) = mpsc::channel();
            let (shared, waiting) = (Arc::clone(&shared), Arc::clone(&waiting));
            spawn(name, move || {
                // Nothing is ever sent: it hears that the other end is dropped.
                let _ = barrier.recv();
                serve(&shared, lane, &waiting, &inbox);
            })?;
            Ok(work)
        };
        let ((until_open, barrier), (until_open_too, barrier_too)) = (mpsc::channel(), mpsc::channel());
        let quick = once_open("kernel-quick", Lane::Quick, barrier)?;
        let removal = once_open("kernel-removal", Lane::Removal, barrier_too)?;
        let all = Arc::clone(&waiting);
        spawn("kernel-slow", move || {
            let result = open().map(|kernel| drop(shared.set(Shared::new(kernel))));
            let _ = opened.send(result);
            drop::<[mpsc::Sender<()>; 2]>([until_open, until_open_too]);
            serve(&shared, Lane::Slow, &all, &slow_inbox);
        })?;
        Ok((Self { quick, removal, slow, waiting }, outcome))
    }

    /// Applies a batch. Returns what was refused.
    pub(crate) fn apply(&self, lane: Lane, batch: Batch) -> impl Future<Output = Refused> + use<> {
        let copy = batch.changes.clone();
        let (reply, answer) = oneshot::channel();
        let thread = match lane {
            Lane::Quick => {
                self.waiting.change(|batches| *batches += 1);
                &self.quick
            }
            Lane::Removal => &self.removal,
            Lane::Slow => &self.slow,
        };
        // A thread that is gone drops the reply, which the answer tells.
        let _ = thread.send(Work::Apply(batch, reply));
        async move { answer.await.unwrap_or_else(|_| copy.into_iter().map(|it| (it, gone())).collect()) }
    }

    /// Reads back everything that Shoal owns.
    pub(crate) fn observe(&self) -> impl Future<Output = Result<Observed, KernelError>> + use<> {
        self.ask(Work::Observe)
    }

    /// Reads all counters.
    pub(crate) fn counters(&self) -> impl Future<Output = Result<Counters, KernelError>> + use<> {
        self.ask(Work::Counters)
    }

    fn ask<T>(
        &self,
        work: fn(oneshot::Sender<Result<T, KernelError>>) -> Work,
    ) -> impl Future<Output = Result<T, KernelError>> + use<T> {
        let (reply, answer) = oneshot::channel();
        let _ = self.slow.send(work(reply));
        async move { answer.await.unwrap_or_else(|_| Err(gone())) }
    }
}

/// What the threads share.
struct Shared<K> {
    kernel: K,
    turns: Mutex<Turns>,
    /// A change to a link or an address was made.
    made: Condvar,
}

/// Whose turn it is with each link and address.
#[derive(Default)]
struct Turns {
    /// The number of the newest batch that has changed it, or does.
    newest: BTreeMap<Object, u64>,
    /// Those that a thread is changing.
    changing: BTreeSet<Object>,
}

/// What more than one thread may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Link(LinkName),
    Endpoint(EndpointKey),
}

impl Object {
    pub(crate) fn of(change: &Change) -> Option<Self> {
        match change {
            Change::SetLink(name, _) | Change::RemoveLink(name) => Some(Self::Link(name.clone())),
            Change::SetEndpoint(key, _) | Change::RemoveEndpoint(key) => Some(Self::Endpoint(*key)),
            _ => None,
        }
    }
}

impl<K: Kernel> Shared<K> {
    fn new(kernel: K) -> Self {
        Self { kernel, turns: Mutex::default(), made: Condvar::new() }
    }

    fn apply(&self, batch: &Batch) -> Refused {
        self.lock().newest.retain(|_, number| *number >= batch.all_done_below);
        let mut refused = Refused::new();
        // Changes to tunnels and peers go together, as they come: tunnels are looked up once for all of them.
        for together in batch.changes.chunk_by(|a, b| Object::of(a).is_none() && Object::of(b).is_none()) {
            match together.first().and_then(Object::of) {
                Some(object) => refused.extend(self.apply_in_turn(batch.number, &object, together)),
                None => refused.extend(self.kernel.apply(together)),
            }
        }
        refused
    }

    /// Makes a change to a link or an address, once no other thread is changing it and unless a newer batch has.
    fn apply_in_turn(&self, number: u64, object: &Object, change: &[Change]) -> Refused {
        let mut turns = self.lock();
        while turns.changing.contains(object) {
            turns = self.made.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        if turns.newest.get(object).is_some_and(|newer| *newer > number) {
            return Refused::new();
        }
        turns.newest.insert(object.clone(), number);
        turns.changing.insert(object.clone());
        drop(turns);
        let refused = self.kernel.apply(change);
        self.lock().changing.remove(object);
        self.made.notify_all();
        refused
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until nobody has a handle; not at all if the kernel could not be opened.
fn serve<K: Kernel>(
    shared: &OnceLock<Shared<K>>,
    lane: Lane,
    waiting: &Waiting,
    inbox: &mpsc::Receiver<Work>,
) {
    let Some(shared) = shared.get() else { return };
    while let Ok(work) = inbox.recv() {
        if lane == Lane::Removal {
            waiting.give_way();
        }
        // Nobody waiting for an answer is no reason not to do the work.
        match work {
            Work::Apply(batch, reply) => drop(reply.send(shared.apply(&batch))),
            Work::Observe(reply) => drop(reply.send(shared.kernel.observe())),
            Work::Counters(reply) => drop(reply.send(shared.kernel.counters())),
        }
        if lane == Lane::Quick {
            waiting.change(|batches| *batches -= 1);
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), KernelError> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
    spawned.map(drop).map_err(|error| failed("start a thread for", error.to_string()))
}

fn gone() -> KernelError {
    failed("use", "its thread ended".into())
}

/// A failure of the agent's to work with the kernel at all.
pub(crate) fn failed(action: &str, reason: String) -> KernelError {
    KernelError { action: action.into(), object: "the kernel".into(), reason }
}

#[cfg(test)]
mod tests;
