//! Requests to the engine that are under way or wait for their next try.
//!
//! Every request is made at most once at a time per object and repeated with growing pauses until its effect is seen,
//! so that a lost answer or a restart of the engine only delays.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_types::{Moment, NetworkId};

use crate::DockerNetworkId;

/// First and longest pause before a request to the engine is repeated.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How long a request may be under way before it counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What is wanted of the engine, by object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    Create(NetworkId),
    Remove(DockerNetworkId),
    Read(DockerNetworkId),
}

/// When a job may be tried next, and how often it was.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    due: Moment,
    tries: u32,
    under_way: bool,
}

/// All jobs, and why the engine refused.
#[derive(Debug, Default)]
pub(crate) struct Work {
    attempts: BTreeMap<Job, Attempt>,
    failures: BTreeMap<NetworkId, String>,
}

impl Work {
    /// Whether a job should be started now; if so, it counts as started.
    ///
    /// Creations are made one at a time: while one is under way, a pool that dockerd asks for without a name is
    /// known to be that network's, if it has the prefix.
    pub(crate) fn start(&mut self, job: Job, now: Moment) -> bool {
        let another = self.creating().is_some_and(|network| job != Job::Create(network));
        if matches!(job, Job::Create(_)) && another {
            if let Some(attempt) = self.attempts.get_mut(&job) {
                attempt.due = attempt.due.max(now + RETRY.0);
            }
            return false;
        }
        let attempt = self.attempts.entry(job).or_insert(Attempt { due: now, tries: 0, under_way: false });
        if now < attempt.due {
            return false;
        }
        *attempt = Attempt { due: now + ANSWER_MAX, tries: attempt.tries.saturating_add(1), under_way: true };
        true
    }

    /// The network whose creation is under way.
    pub(crate) fn creating(&self) -> Option<NetworkId> {
        self.attempts.iter().find_map(|(job, attempt)| match job {
            Job::Create(network) if attempt.under_way => Some(*network),
            _ => None,
        })
    }

    /// The job is tried again after a pause. Returns how often it was tried.
    pub(crate) fn failed(&mut self, job: &Job, now: Moment) -> u32 {
        let Some(attempt) = self.attempts.get_mut(job) else { return 0 };
        let pause = RETRY.0.saturating_mul(1 << attempt.tries.min(10)).min(RETRY.1);
        (attempt.due, attempt.under_way) = (now + pause, false);
        attempt.tries
    }

    pub(crate) fn done(&mut self, job: &Job) {
        self.attempts.remove(job);
    }

    /// Forgets the jobs that nobody wants any more: a pause that ends for nothing would wake the caller for ever.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&Job) -> bool) {
        self.attempts.retain(|job, _| wanted(job));
    }

    /// Something changed in the engine: creations that wait for their next try need wait no longer.
    pub(crate) fn hurry(&mut self, now: Moment) {
        let waiting =
            |(job, attempt): &(&Job, &mut Attempt)| matches!(job, Job::Create(_)) && !attempt.under_way;
        self.attempts.iter_mut().filter(waiting).for_each(|(_, attempt)| attempt.due = attempt.due.min(now));
    }

    /// Forgets pauses and failures of a network, because someone asked for it again.
    pub(crate) fn retry_now(&mut self, network: NetworkId) {
        self.attempts.remove(&Job::Create(network));
        self.failures.remove(&network);
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.attempts.values().map(|attempt| attempt.due).min()
    }

    pub(crate) fn failure(&self, network: NetworkId) -> Option<&str> {
        self.failures.get(&network).map(String::as_str)
    }

    pub(crate) fn refused(&mut self, network: NetworkId, why: String) {
        self.failures.insert(network, why);
    }

    /// Drops the failures of networks of which nothing is wanted any more.
    pub(crate) fn keep_failures(&mut self, wanted: impl Fn(NetworkId) -> bool) {
        self.failures.retain(|network, _| wanted(*network));
    }
}
