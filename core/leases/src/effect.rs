//! What the agent is asked to do.

use shoal_schema::{Fact, FactKey, VoteFact};
use shoal_types::HostId;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Say this; durable before anything is sent.
    Publish(Fact),
    /// Say this no more.
    Withdraw(FactKey),
    /// Ask a witness which state it holds.
    Renew(HostId),
    /// Take over what is spare of a host: publish the claims and this vote in one state.
    TakeOver(VoteFact),
    /// Take over everything of a forgotten host.
    Inherit(HostId),
}
