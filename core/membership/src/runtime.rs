//! What the protocol calls for, gathered as values.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Notification, Runtime, Timer};
use shoal_types::{HostId, Moment};

use crate::WIRE_VERSION;
use crate::identity::Identity;

/// Gathers what the protocol calls for during one call.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) sends: Vec<(HostId, Vec<u8>)>,
    pub(crate) timers: Vec<(Duration, Timer<Identity>)>,
    /// Who came (true) or went, in order.
    pub(crate) changes: Vec<(HostId, bool)>,
}

impl Runtime<Identity> for Calls {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::MemberUp(member) => self.changes.push((member.host(), true)),
            Notification::MemberDown(member) => self.changes.push((member.host(), false)),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to.host(), [&[WIRE_VERSION], data].concat()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((after, event));
    }
}

/// Timers by due moment; equal ones in the order they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Moment, u64), Timer<Identity>>,
    count: u64,
}

impl Timers {
    pub(crate) fn add(&mut self, now: Moment, timers: Vec<(Duration, Timer<Identity>)>) {
        for (after, timer) in timers {
            self.count += 1;
            self.queue.insert((now + after, self.count), timer);
        }
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<Timer<Identity>> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_due_in_order() {
        let mut timers = Timers::default();
        let second = Duration::from_secs(1);
        let timer = Timer::PeriodicGossip;
        timers.add(Moment::ZERO, vec![(second * 2, timer(2)), (second, timer(1)), (second, timer(3))]);
        assert_eq!(timers.next_due(), Some(Moment::ZERO + second));
        assert_eq!(timers.pop_due(Moment::ZERO), None);
        let late = Moment::ZERO + second * 9;
        let order: Vec<_> = std::iter::from_fn(|| timers.pop_due(late)).collect();
        assert_eq!(order, [timer(1), timer(3), timer(2)]);
    }
}
