//! How long calls took, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Times;

/// A line for each verb and one for all: number of calls, median, 99th percentile, longest.
pub fn table(times: Times) -> String {
    let mut text =
        format!("{:<36}{:>8}{:>12}{:>12}{:>12}\n", "call", "number", "median ms", "p99 ms", "longest ms");
    let all = times.values().flatten().copied().collect();
    let rows: BTreeMap<String, Vec<Duration>> =
        times.into_iter().chain([("all calls".to_owned(), all)]).collect();
    for (verb, mut taken) in rows {
        taken.sort();
        let at = |part: usize| taken.get((taken.len() * part / 100).min(taken.len().saturating_sub(1)));
        let [median, high, longest] =
            [50, 99, 100].map(|part| at(part).map_or(0.0, |time| time.as_secs_f64() * 1000.0));
        text += &format!("{verb:<36}{:>8}{median:>12.1}{high:>12.1}{longest:>12.1}\n", taken.len());
    }
    text
}
