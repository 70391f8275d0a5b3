//! What should happen, for someone else to do.

use shoal_schema::{FactKey, SightingFact, TunnelFact};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Keep (or forget, `None`) a record under a key, durably.
    Save(Vec<u8>, Option<Vec<u8>>),
    /// Make a fact ours, or replace it.
    Publish(TunnelFact),
    /// Tell where another end is heard, or replace what was told.
    Sight(SightingFact),
    /// Take a fact of ours back.
    Withdraw(FactKey),
    /// Draw a pair of keys and hand it to [`Tunnels::begin`](crate::Tunnels::begin).
    DrawKeys,
    /// The plan may have changed: bring the kernel in line soon.
    ProjectSoon,
    /// Tell the operator.
    Notice(String),
}
