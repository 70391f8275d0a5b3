//! Facts as bytes.
//!
//! ```text
//! key    kind "/" ids of fixed length       see `key.rs`; says which fact it is
//! value  one protobuf message per kind      see `message.rs`; says what the fact states
//! ```
//!
//! Ids stand in the key only, so the two cannot disagree; where the value needs them too (the family of a gift's
//! first address) they are compared. `convert.rs` goes from messages to facts and checks every limit on the way, so
//! the rest of the code never meets a fact that breaks one. Nothing here panics, whatever the bytes.
//!
//! An author that wants to know whether others will accept a fact decodes what it encoded.

mod convert;
mod key;
pub mod limit;
mod message;
#[cfg(test)]
mod tests;

use prost::Message;

use crate::Fact;
use key::ParsedKey;
pub use key::{FactKey, FactKind};

/// Bytes that are not a fact this host can use. Only [`DecodeError::UnknownKind`] is expected of honest hosts (newer
/// ones): ignore it. For all others: count it, name the author, leave the fact out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A kind of fact that this version does not know. Stored and forwarded all the same, by its bytes.
    #[error("unknown kind of fact")]
    UnknownKind,
    /// The key's kind is known, the rest of it is not well formed.
    #[error("the key of a {kind} fact has the wrong length or form")]
    Key {
        /// The kind.
        kind: FactKind,
    },
    /// The value is not protobuf, or longer than [`crate::limit::VALUE_BYTES_MAX`].
    #[error("the value of a {kind} fact cannot be read: {problem}")]
    Bytes {
        /// The kind.
        kind: FactKind,
        /// What protobuf says.
        problem: String,
    },
    /// A field is absent, breaks its limit, or is not what its type says.
    #[error("a {kind} fact has a bad \"{field}\": {problem}")]
    Field {
        /// The kind.
        kind: FactKind,
        /// The field, by its name in the struct.
        field: &'static str,
        /// The rule it breaks.
        problem: &'static str,
    },
}

impl Fact {
    /// Which fact this is, among all of its author's. Two facts of one author with equal keys replace each other.
    pub fn key(&self) -> FactKey {
        FactKey::of(self)
    }

    /// The value's bytes. Text that is for people only is cut to its limit, a list of containers to what fits; all
    /// else is written as it is, also when it breaks a limit.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Host(fact) => message::Host::from(fact).encode_to_vec(),
            Self::Taken(fact) => message::TakenList::from(fact).encode_to_vec(),
            Self::Endpoint(fact) => message::Endpoint::from(fact).encode_to_vec(),
            Self::Network(fact) => message::Network::from(fact).encode_to_vec(),
            Self::Gift(fact) => message::Gift::from(fact).encode_to_vec(),
            Self::Use(fact) => message::Use::from(fact).encode_to_vec(),
            Self::Token(fact) => message::Token::from(fact).encode_to_vec(),
            Self::Tunnel(fact) => message::Tunnel::from(fact).encode_to_vec(),
            Self::Secret(fact) => message::Secret::from(fact).encode_to_vec(),
            Self::Sighting(fact) => message::Sighting::from(fact).encode_to_vec(),
            Self::Lease(fact) => message::Lease::from(fact).encode_to_vec(),
            Self::Spare(fact) => message::Spare::from(fact).encode_to_vec(),
            Self::Vote(fact) => message::Vote::from(fact).encode_to_vec(),
            Self::Roster(fact) => message::Roster::from(fact).encode_to_vec(),
            Self::Forgotten(fact) => message::Forgotten::from(fact).encode_to_vec(),
        }
    }

    /// Reads a fact from its key and value, both from another host or from disk.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let key = ParsedKey::read(key)?;
        let kind = key.kind();
        let fact = match key {
            ParsedKey::Host => read::<message::Host>(kind, value)?.fact().map(Self::Host),
            ParsedKey::Taken => read::<message::TakenList>(kind, value)?.fact().map(Self::Taken),
            ParsedKey::Endpoint(network, id) => {
                read::<message::Endpoint>(kind, value)?.fact(network, id).map(Self::Endpoint)
            }
            ParsedKey::Network(id) => read::<message::Network>(kind, value)?.fact(id).map(Self::Network),
            ParsedKey::Gift(gift) => read::<message::Gift>(kind, value)?.fact(&gift).map(Self::Gift),
            ParsedKey::Use(network) => read::<message::Use>(kind, value)?.fact(network).map(Self::Use),
            ParsedKey::Token(verifier) => {
                read::<message::Token>(kind, value)?.fact(verifier).map(Self::Token)
            }
            ParsedKey::Tunnel(generation) => {
                read::<message::Tunnel>(kind, value)?.fact(generation).map(Self::Tunnel)
            }
            ParsedKey::Secret => read::<message::Secret>(kind, value)?.fact().map(Self::Secret),
            ParsedKey::Sighting(host, generation) => {
                read::<message::Sighting>(kind, value)?.fact(host, generation).map(Self::Sighting)
            }
            ParsedKey::Lease => read::<message::Lease>(kind, value)?.fact().map(Self::Lease),
            ParsedKey::Spare(network, pool) => {
                read::<message::Spare>(kind, value)?.fact(network, pool).map(Self::Spare)
            }
            ParsedKey::Vote(owner) => read::<message::Vote>(kind, value)?.fact(owner).map(Self::Vote),
            ParsedKey::Roster => read::<message::Roster>(kind, value)?.fact().map(Self::Roster),
            ParsedKey::Forgotten(host) => {
                read::<message::Forgotten>(kind, value)?.fact(host).map(Self::Forgotten)
            }
        };
        fact.map_err(|convert::Broken { field, problem }| DecodeError::Field { kind, field, problem })
    }
}

fn read<M: Message + Default>(kind: FactKind, value: &[u8]) -> Result<M, DecodeError> {
    if value.len() > limit::VALUE_BYTES_MAX {
        return Err(DecodeError::Bytes { kind, problem: "longer than 256 KiB".to_owned() });
    }
    M::decode(value).map_err(|error| DecodeError::Bytes { kind, problem: error.to_string() })
}
