//! What is answered. Field names are stable: they are what `-o json` prints. Units stand last in a name (`_s` seconds,
//! `_ms` milliseconds, `_us` microseconds); what is unknown is `null`.

mod endpoint;
mod host;
mod network;
mod status;

use serde::{Deserialize, Serialize};

use crate::Failure;

pub use endpoint::{AddressRange, AddressShare, Endpoint, Endpoints, LeaseInfo, Traffic};
pub use host::{Host, HostState, HostTunnel, Joined, OpenToken, Reach, Token, Way};
pub use network::{Here, Network, Subnet};
pub use status::{
    Check, ClearDevice, Docker, Doctor, EncryptedEnd, Encrypter, Encryption, EndpointCounts, FabricInfo,
    NetworkCount, Notices, Relayed, Setting, SettingSource, Status, ThisHost, TransportInfo, TunnelInfo,
    Version,
};

/// The answer to a [`Command`](crate::Command). In JSON `{"answer":"hosts","value":[...]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    /// This host belongs to a fabric.
    Joined(Joined),
    /// A token was made.
    Token(Token),
    /// The open tokens, by their end.
    Tokens(Vec<OpenToken>),
    /// The names of the tokens that were revoked.
    Revoked(Vec<String>),
    /// It was done.
    Done(Notices),
    /// The host at a glance.
    Status(Box<Status>),
    /// Every host of the fabric, this one included and first, then by name.
    Hosts(Vec<Host>),
    /// A network was made.
    Network(Box<Network>),
    /// Every network, by name.
    Networks(Vec<Network>),
    /// Every endpoint, by network, host and address.
    Endpoints(Endpoints),
    /// Who owns which addresses, by network, subnet and host.
    Addresses(Vec<AddressShare>),
    /// What was compared and found.
    Doctor(Doctor),
    /// The agent's version.
    Version(Version),
}

/// The payload of one variant of [`Answer`], so that a caller states what it expects.
pub trait FromAnswer: Sized {
    /// Takes the payload out; an answer of another kind is an internal failure.
    fn from_answer(answer: Answer) -> Result<Self, Failure>;
}

/// Pairs each variant with its payload's type, in both directions.
macro_rules! payloads {
    ($($variant:ident($payload:ty) as $wrap:expr, $unwrap:expr;)*) => {$(
        impl FromAnswer for $payload {
            fn from_answer(answer: Answer) -> Result<Self, Failure> {
                match answer {
                    Answer::$variant(payload) => Ok($unwrap(payload)),
                    other => Err(Failure::internal(format!(
                        "the agent answered \"{}\" where \"{}\" was expected", other.name(), stringify!($variant)
                    ))),
                }
            }
        }

        impl From<$payload> for Answer {
            fn from(payload: $payload) -> Self {
                Self::$variant($wrap(payload))
            }
        }
    )*};
}

payloads! {
    Joined(Joined) as |p| p, |p| p;
    Token(Token) as |p| p, |p| p;
    Tokens(Vec<OpenToken>) as |p| p, |p| p;
    Revoked(Vec<String>) as |p| p, |p| p;
    Done(Notices) as |p| p, |p| p;
    Status(Status) as Box::new, |boxed: Box<_>| *boxed;
    Hosts(Vec<Host>) as |p| p, |p| p;
    Network(Network) as Box::new, |boxed: Box<_>| *boxed;
    Networks(Vec<Network>) as |p| p, |p| p;
    Endpoints(Endpoints) as |p| p, |p| p;
    Addresses(Vec<AddressShare>) as |p| p, |p| p;
    Doctor(Doctor) as |p| p, |p| p;
    Version(Version) as |p| p, |p| p;
}

impl Answer {
    /// The variant's name, for messages.
    fn name(&self) -> &'static str {
        match self {
            Self::Joined(_) => "Joined",
            Self::Token(_) => "Token",
            Self::Tokens(_) => "Tokens",
            Self::Revoked(_) => "Revoked",
            Self::Done(_) => "Done",
            Self::Status(_) => "Status",
            Self::Hosts(_) => "Hosts",
            Self::Network(_) => "Network",
            Self::Networks(_) => "Networks",
            Self::Endpoints(_) => "Endpoints",
            Self::Addresses(_) => "Addresses",
            Self::Doctor(_) => "Doctor",
            Self::Version(_) => "Version",
        }
    }
}
