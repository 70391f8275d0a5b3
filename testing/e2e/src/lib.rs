//! Scenarios on real dockerds with the real agent.
//!
//! A scenario is a function of [`Features`]; [`scenarios!`] makes two tests of it, one with the optional kernel
//! features in use and one with all of them switched off. A [`Fabric`] is a bed of hosts whose agents have joined.

mod counters;
mod fabric;
mod features;
mod load;

pub use counters::Counters;
pub use fabric::Fabric;
pub use features::Features;
pub use load::Load;

/// Bytes.
pub const MEBIBYTE: u64 = 1 << 20;

/// The outcome of a scenario, joined with what was seen on the underlay while it ran.
///
/// # Errors
/// The scenario's own error, or what must not have been on the underlay, or both.
pub fn judged(outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    match (outcome, shoal_netbed::verdict()) {
        (Err(error), Err(seen)) => Err(error.context(seen.to_string())),
        (outcome, seen) => outcome.and(seen),
    }
}

/// Makes two tests of every scenario named: with the optional kernel features, and without.
#[macro_export]
macro_rules! scenarios {
    ($($scenario:ident),* $(,)?) => {
        mod with_all_features {
            $(#[test] fn $scenario() -> anyhow::Result<()> {
                let outcome = super::$scenario($crate::Features::On);
                $crate::judged(outcome)
            })*
        }
        mod without_optional_features {
            $(#[test] fn $scenario() -> anyhow::Result<()> {
                let outcome = super::$scenario($crate::Features::Off);
                $crate::judged(outcome)
            })*
        }
    };
}
