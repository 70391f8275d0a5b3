//! Looking at the kernel: what comes back, and what is done about it.
//!
//! Whoever looks asks a thread of the kernel's and goes on; the outcome is an input ([`Input::Counted`],
//! [`Input::Observed`]). At most one of each is under way.

use std::time::Duration;

use shoal_plan::{Change, Observed};
use shoal_planner::{change_text, diff};
use shoal_ports::{Counters, KernelError, WireGuardStatus};
use shoal_tunnels::Status;

use super::kernel::{Lane, Refused, failed};
use super::owner::Agent;
use super::projection::{self, Look};
use super::{Input, ready};

/// How long an operator's question waits for the kernel.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// With more changes of its own on the way than this, the agent tells nobody else's from them.
const KNOWN_MAX: usize = 100;

/// Differences that one audit tells one by one; the others are counted.
const TOLD_MAX: usize = 10;

impl Agent {
    /// Asks how the encrypted tunnels do.
    pub(crate) fn look_at_tunnels(&mut self) {
        if std::mem::replace(&mut self.is_counting, true) {
            return;
        }
        let (counters, inputs) = (self.parts.kernel.counters(), self.parts.inputs.clone());
        tokio::spawn(async move { inputs.send(Input::Counted(counters.await)).await });
    }

    /// The tunnels have told.
    pub(crate) fn counted(&mut self, counters: Result<Counters, KernelError>) {
        self.is_counting = false;
        let Ok(counters) = counters else { return };
        self.strangers.note(&counters.encryption_drops, self.at().now);
        let status = |read: WireGuardStatus| Status {
            handshake: read.last_handshake,
            endpoint: read.endpoint,
            received_bytes: read.received_bytes,
            sent_bytes: read.sent_bytes,
        };
        let statuses = counters.wireguard.into_iter().map(|(at, read)| (at, status(read))).collect();
        let effects = self.fabric.tunnel_statuses(statuses, self.at());
        self.perform(effects);
        self.follow_relays();
    }

    /// Asks for the whole kernel state, after the tunnels: an end that was just found stays where it was found.
    pub(crate) fn audit(&mut self) {
        if std::mem::replace(&mut self.is_auditing, true) {
            return;
        }
        self.is_counting = true;
        let look = self.kernel.look();
        let (counters, observed) = (self.parts.kernel.counters(), self.parts.kernel.observe());
        let inputs = self.parts.inputs.clone();
        tokio::spawn(async move {
            inputs.send(Input::Counted(counters.await)).await?;
            inputs.send(Input::Observed(look, observed.await)).await
        });
    }

    /// Takes the kernel as it is and mends what differs. At the start that is what an earlier agent has left: what is
    /// right stays untouched.
    pub(crate) fn observed(&mut self, look: Look, observed: Result<Observed, KernelError>) {
        self.is_auditing = false;
        let is_first = !self.kernel.is_known();
        match observed {
            Ok(observed) => self.mend(look, observed, is_first),
            Err(error) => {
                self.kernel.seen_nothing(look);
                self.notice(error.to_string());
            }
        }
        if is_first {
            self.plan_changed = true;
            ready::tell();
            tracing::info!(host = %self.fabric.me(), "the agent is ready");
        }
        self.probe();
    }

    fn mend(&mut self, look: Look, observed: Observed, is_first: bool) {
        let observed = self.kernel.seen(look, observed);
        let wanted = projection::wanted(&self.view());
        let known = self.kernel.changes_to(&wanted);
        let changes = diff(&wanted, &observed);
        self.kernel.believe(&observed);
        // What this agent knew to be missing, as the kernel refused it or the plan is newer, nobody has taken away.
        let is_news = |change: &&Change| known.len() <= KNOWN_MAX && !known.contains(change);
        let mended: Vec<&Change> = changes.iter().filter(is_news).collect();
        if !is_first && !mended.is_empty() {
            self.tally.kernel_mended += mended.len() as u64;
            for change in mended.iter().take(TOLD_MAX) {
                let difference = difference_text(change, &observed);
                tracing::warn!(difference, "the kernel differs from the plan: mending");
                self.last_mended = Some((self.at().now, difference));
            }
            tracing::info!(changes = mended.len(), "the kernel differed from the plan and is mended");
        }
        self.send(Lane::Slow, changes);
    }

    /// A batch of changes is done but for what the kernel refused.
    pub(crate) fn applied(&mut self, number: u64, refused: &Refused) {
        let lane = self.kernel.done(number, refused);
        self.tally.kernel_refusals += refused.len() as u64;
        for (_, error) in refused {
            self.notice(error.to_string());
        }
        self.answer_awaiting(number, refused);
        if lane == Some(Lane::Slow) && self.prober.is_behind(&self.view()) {
            self.probe();
        }
    }

    /// Keeps the prober in step with the hosts and the probe link.
    pub(crate) fn probe(&mut self) {
        let view = self.view();
        let linked = view.probe.as_ref().is_some_and(|probe| self.kernel.has_link(&probe.outer_name));
        let failure =
            self.prober.follow(&view, linked).err().map(|error| format!("paths are not probed: {error}"));
        if failure != self.probe_failure {
            self.probe_failure.clone_from(&failure);
            if let Some(sentence) = failure {
                self.notice(sentence);
            }
        }
    }
}

/// A difference in words, with what is wrong where that is known.
pub(crate) fn difference_text(change: &Change, observed: &Observed) -> String {
    let why = match change {
        Change::SetLink(name, _) | Change::RemoveLink(name) => observed.broken.get(name),
        Change::SetTunnel(name, _) | Change::RemoveTunnel(name) => observed.broken.get(name),
        _ => None,
    };
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{}{why}", change_text(change))
}

/// What the kernel answers within a time that an operator will wait.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, KernelError>>,
) -> Result<T, KernelError> {
    let late = |_| Err(failed("read", format!("no answer within {} s", SHOWN_WITHIN.as_secs())));
    tokio::time::timeout(SHOWN_WITHIN, answer).await.unwrap_or_else(late)
}
