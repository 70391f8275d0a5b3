//! The kernel, on a thread of its own: its calls block.

use std::sync::mpsc;

use shoal_plan::{Change, Observed};
use shoal_ports::{Counters, Kernel, KernelError};
use tokio::sync::oneshot;

/// Changes that the kernel refused, with its reasons.
pub(crate) type Refused = Vec<(Change, KernelError)>;

enum Work {
    Apply(Vec<Change>, oneshot::Sender<Refused>),
    Observe(oneshot::Sender<Result<Observed, KernelError>>),
    Counters(oneshot::Sender<Result<Counters, KernelError>>),
}

/// A handle to the thread. Clones share it; it ends with the last one.
#[derive(Clone)]
pub(crate) struct KernelThread {
    work: mpsc::Sender<Work>,
}

impl KernelThread {
    /// Starts the thread and opens the kernel on it.
    pub(crate) async fn start<K: Kernel + 'static>(
        open: impl FnOnce() -> Result<K, KernelError> + Send + 'static,
    ) -> Result<Self, KernelError> {
        let (work, inbox) = mpsc::channel();
        let (opened, ready) = oneshot::channel();
        let body = move || match open() {
            Ok(kernel) => {
                let _ = opened.send(Ok(()));
                serve(kernel, &inbox);
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let spawned = std::thread::Builder::new().name("kernel".into()).spawn(body);
        spawned.map_err(|error| gone(&error.to_string()))?;
        ready.await.map_err(|_| gone("its thread ended"))??;
        Ok(Self { work })
    }

    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Refused {
        let all_failed =
            |changes: &[Change]| changes.iter().map(|it| (it.clone(), gone("its thread ended"))).collect();
        let (reply, answer) = oneshot::channel();
        let copy = changes.clone();
        match self.work.send(Work::Apply(changes, reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| all_failed(&copy)),
            Err(_) => all_failed(&copy),
        }
    }

    pub(crate) async fn observe(&self) -> Result<Observed, KernelError> {
        self.ask(Work::Observe).await
    }

    pub(crate) async fn counters(&self) -> Result<Counters, KernelError> {
        self.ask(Work::Counters).await
    }

    async fn ask<T>(
        &self,
        work: fn(oneshot::Sender<Result<T, KernelError>>) -> Work,
    ) -> Result<T, KernelError> {
        let (reply, answer) = oneshot::channel();
        self.work.send(work(reply)).map_err(|_| gone("its thread ended"))?;
        answer.await.map_err(|_| gone("its thread ended"))?
    }
}

fn serve(mut kernel: impl Kernel, inbox: &mpsc::Receiver<Work>) {
    while let Ok(work) = inbox.recv() {
        // Nobody waiting for an answer is no reason not to do the work.
        match work {
            Work::Apply(changes, reply) => drop(reply.send(kernel.apply(&changes))),
            Work::Observe(reply) => drop(reply.send(kernel.observe())),
            Work::Counters(reply) => drop(reply.send(kernel.counters())),
        }
    }
}

fn gone(reason: &str) -> KernelError {
    KernelError { action: "use".into(), object: "the kernel".into(), reason: reason.into() }
}
