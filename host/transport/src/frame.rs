//! What other hosts say on streams, and of relayed packets in datagrams, read without a connection: for a fuzzer, which
//! has only bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::relay;
use crate::wire::{self, FrameError, Hello, JoinReply, Ready, Reply, Request};

/// A kind of frame. Which one is expected follows from the place in the talk; no frame names its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The first one from whoever dialled: anybody at all.
    Opening,
    /// The answer to a member's opening.
    Hello,
    /// The end of the greeting.
    Ready,
    /// The answer to a host that asked to be let in.
    JoinReply,
    /// A question of a member.
    Request,
    /// Its answer.
    Reply,
    /// A datagram about relayed packets, without the byte that names its kind.
    Relay,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Opening, Self::Hello, Self::Ready, Self::JoinReply, Self::Request, Self::Reply, Self::Relay];

    /// Reads a frame, without its length, as the transport does, and writes what was read.
    ///
    /// # Errors
    /// Why the transport would refuse it, as the refused host is told.
    pub fn rewritten(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let rewritten = match self {
            Self::Opening => wire::decode_opening(bytes).and_then(|opening| wire::encode_opening(&opening)),
            Self::Hello => again::<Hello>(bytes),
            Self::Ready => again::<Ready>(bytes),
            Self::JoinReply => again::<JoinReply>(bytes),
            Self::Request => again::<Request>(bytes),
            Self::Reply => again::<Reply>(bytes),
            Self::Relay => {
                let frame = relay::Frame::decode(bytes).ok_or("a datagram about relaying makes no sense");
                return Ok(frame?.encode(0).slice(1..).to_vec());
            }
        };
        rewritten.map_err(|error: FrameError| error.to_string())
    }
}

/// Another host's sentence as it is shown here: one line without control characters, at most 400 characters long and
/// never empty.
pub fn shown_sentence(bytes: &[u8]) -> String {
    wire::sentence(bytes)
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    wire::encode(&wire::decode::<T>(bytes)?)
}
