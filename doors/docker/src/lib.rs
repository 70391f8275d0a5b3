//! The Docker plugin protocol: NetworkDriver and IpamDriver.
//!
//! ```text
//!   dockerd --POST /NetworkDriver.Join {json}--> server: method, size, deadline
//!                                                  wire: which call, JSON -> Verb, or a refusal that names the field
//!                                                  Handler: decides
//!                                                  encode: Reply -> JSON
//! ```
//!
//! A plugin that accepts and never answers hangs dockerd for ever, so every call is answered within
//! [`Settings::deadline`], in every state. The JSON of the wire never leaves this crate; what it carries is
//! `shoal_networks::Verb`. Format: Docker's plugin API v1, `daemon/libnetwork/drivers/remote/api` and
//! `daemon/libnetwork/ipams/remote/api` in moby.

mod encode;
mod field;
mod server;
mod wire;

use std::pin::Pin;
use std::time::Duration;

use shoal_networks::{Refusal, Reply, Verb};

pub use server::serve;
pub use shoal_networks::{GLOBAL_SPACE, INTERFACE_PREFIX, LOCAL_SPACE};

/// A request's longest body, in bytes. Real ones are below 10 kB.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// An answer that is on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send + 'a>>;

/// Decides what dockerd asks.
///
/// Called from several tasks at once, and again with the same verb when dockerd repeats itself. A call is carried to
/// its end even when dockerd stops waiting for it. Must not ask Docker anything: dockerd may hold a lock meanwhile.
pub trait Handler: Send + Sync + 'static {
    /// Carries out a verb. A refusal's sentence reaches the user's terminal word for word.
    fn call(&self, verb: Verb) -> Answer<'_>;
}

/// What a call of dockerd asks for, without anybody deciding it: `path` is a request's path, `body` its JSON. `None`
/// for a path that asks for no decision or is not implemented; an error is the sentence that dockerd would be
/// answered.
pub fn read_call(path: &str, body: &[u8]) -> Option<Result<Verb, String>> {
    let wire::Call::Decide(parse) = wire::call(path)? else { return None };
    let verb = field::Fields::of_body(body).and_then(|fields| parse(&fields));
    Some(verb.map_err(|malformed| malformed.to_string()))
}

/// How the door behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a call may take before dockerd is told that the agent does not answer. dockerd itself waits without
    /// limit.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(8) }
    }
}
