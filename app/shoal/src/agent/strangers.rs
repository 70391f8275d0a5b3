//! Handshakes that this host's tunnels refused.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_types::Moment;

/// How long ago still counts as lately: a host that looks for another shakes hands every few seconds.
const LATELY: Duration = Duration::from_secs(60);

/// What the processes that encrypt call a handshake that was made for another key than theirs, or by a key that is no
/// other end's.
const REASONS: [&str; 2] = ["handshake_mac", "handshake_refused"];

/// Whether such handshakes come, from what is counted of them.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    count: Option<u64>,
    grew: Option<Moment>,
}

impl Strangers {
    /// Takes the drops that were read last, by reason. What was counted before the first reading may be old.
    pub(crate) fn note(&mut self, drops: &BTreeMap<String, u64>, now: Moment) {
        let count = REASONS.iter().filter_map(|reason| drops.get(*reason)).sum();
        if self.count.is_some_and(|before| count > before) {
            self.grew = Some(now);
        }
        self.count = Some(count);
    }

    /// Whether any came within the last minute.
    pub(crate) fn came_lately(&self, now: Moment) -> bool {
        self.grew.is_some_and(|grew| now.since(grew) < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_count_that_grows_tells_of_strangers_and_only_for_a_minute() {
        let drops =
            |count| BTreeMap::from([("handshake_mac".to_owned(), count), ("replayed".to_owned(), 9 * count)]);
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        let mut strangers = Strangers::default();
        strangers.note(&drops(5), at(0));
        assert!(!strangers.came_lately(at(0)), "they may have come long ago");
        strangers.note(&drops(6), at(5));
        assert!(strangers.came_lately(at(64)) && !strangers.came_lately(at(65)));
        // Another process counts from nothing.
        strangers.note(&drops(0), at(70));
        assert!(!strangers.came_lately(at(70)));
    }
}
