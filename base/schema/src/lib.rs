//! What hosts tell each other: the typed facts and their bytes.
//!
//! A fact is a key and a value. Replication (`core/facts`) sees only bytes, so a host forwards kinds of facts that
//! it does not know. Bytes are protobuf (proto3 wire format), so fields may be added without breaking older hosts.
//! The structs here are what the rest of the code holds: decoding checks every limit, once.

mod fact;
mod wire;

pub use fact::{
    Decision, EndpointFact, Fact, FactsVersion, ForgottenFact, GiftFact, Grant, HostFact, LeaseFact,
    NetworkFact, NetworkSpec, RosterFact, SecretFact, SightingFact, SpareFact, Subnet, Taken, TakenFact,
    TokenFact, TunnelFact, UseFact, VoteFact,
};
pub use wire::{DecodeError, FactKey, FactKind, limit};
