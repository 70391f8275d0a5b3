//! The admin API on the agent's own socket: what `shoal` on the command line, and any other tool of root, may ask.
//!
//! HTTP/1.1 and JSON over a Unix socket that only root may open. There is one route, `POST /v1/command`: the body is
//! a [`Command`], the response an [`Answer`] (status 200) or a [`Failure`] (status by its kind). One enum for what
//! may be asked and one for what is answered keep the client, the server, the agent and every test on the same list.
//!
//! ```text
//! curl --unix-socket /run/shoal/agent.sock http://shoal/v1/command -d '{"command":"token","ttl_s":3600}'
//! {"answer":"token","value":{"token":"...","expires_at_ms":...,"addresses":["10.0.0.1"],"quic_port":7373}}
//! ```
//!
//! The agent implements [`Agent`]; [`serve`] answers on a socket made by [`listen`]; [`Client`] asks.

mod answer;
mod client;
mod command;
mod failure;
mod server;
mod socket;

pub use answer::{
    AddressRange, AddressShare, Answer, Check, ClearDevice, Docker, Doctor, EncryptedEnd, Encrypter,
    Encryption, Endpoint, EndpointCounts, Endpoints, FabricInfo, FromAnswer, Here, Host, HostState,
    HostTunnel, Joined, LeaseInfo, Network, NetworkCount, Notices, OpenToken, Reach, Relayed, Setting,
    SettingSource, Status, Subnet, ThisHost, Token, Traffic, TransportInfo, TunnelInfo, Version, Way,
};
pub use client::{Client, ConnectError, ConnectProblem};
pub use command::{Command, Join, NetworkCreate, SubnetRequest};
pub use failure::{Failure, FailureKind};
pub use server::{Agent, serve};
pub use socket::{ListenError, listen};

/// The one route. Its number rises when a field or command changes its meaning, not when one is added.
pub const ROUTE: &str = "/v1/command";

/// Where the agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/shoal/agent.sock";
