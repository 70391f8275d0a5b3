//! What is said on streams. A frame is its length (4 bytes, big endian) and as many bytes of postcard.
//!
//! The first stream of a connection belongs to its dialler:
//!
//! ```text
//! a member:  Opening::Hello  ->  <- Hello     Ready ->
//! a joiner:  Opening::Join   ->  <- JoinReply
//! ```
//!
//! The opening starts with the protocol's version (2 bytes), so that later versions can be told apart. After that a
//! connection between members carries requests, one per bidirectional stream, and parcels: a unidirectional stream
//! each, whose first byte is its kind.

use std::net::IpAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize as DeriveSerialize};

/// Version of everything in this file.
pub(crate) const PROTOCOL: u16 = 1;
/// Longest frame taken from a stranger.
pub(crate) const HELLO_BYTES_MAX: usize = 4 << 10;
/// Longest answer to a join.
pub(crate) const WELCOME_BYTES_MAX: usize = 16 << 20;
/// Longest request or reply between members.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Longest sentence taken from another host, characters.
const SENTENCE_MAX: usize = 400;

/// Why a connection is closed; QUIC carries it together with a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// In good order.
    Bye,
    /// The other is not accepted; the sentence says why.
    Refused,
}

impl Code {
    pub(crate) fn number(self) -> quinn::VarInt {
        match self {
            Self::Bye => 0_u32.into(),
            Self::Refused => 1_u32.into(),
        }
    }
}

/// The first frame of a connection.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) enum Opening {
    Hello(Hello),
    Join(JoinAsk),
}

/// A member shows itself.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) struct Hello {
    /// In trust's encoding.
    pub(crate) certificate: Vec<u8>,
    /// Drawn at random when the transport started: tells a restarted peer from one that dialled twice.
    pub(crate) session: u64,
}

/// The dialler accepts the other's hello, too.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) struct Ready;

/// A host asks to be let in.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) struct JoinAsk {
    pub(crate) fabric: [u8; 16],
    pub(crate) proof: [u8; 32],
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) quic_port: u16,
    pub(crate) vxlan_port: u16,
    pub(crate) version: String,
}

/// The answer.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) enum JoinReply {
    Granted(Box<Grant>),
    Refused(JoinRefusal),
}

/// What a joiner is given.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) proof: [u8; 32],
    pub(crate) certificate: Vec<u8>,
    pub(crate) root_public: [u8; 32],
    pub(crate) members: Vec<([u8; 16], [u8; 32])>,
    pub(crate) welcome: Vec<u8>,
    pub(crate) observed: IpAddr,
}

/// Why a joiner is not let in.
#[derive(Debug, Clone, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) enum JoinRefusal {
    OtherFabric([u8; 16]),
    UnknownToken,
    /// When, milliseconds since 1970.
    ExpiredToken(u64),
    Forgotten,
    Busy,
    Said(String),
}

/// What a member may ask of another.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) enum Request {
    /// A new certificate for the asker.
    Renew,
    /// The asker's new certificate.
    Announce(Vec<u8>),
}

/// The answer.
#[derive(Debug, PartialEq, DeriveSerialize, Deserialize)]
pub(crate) enum Reply {
    Renewed(Vec<u8>),
    Noted,
    Refused(String),
}

/// A frame that did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the connection broke before the frame was whole")]
    Cut,
    #[error("a frame of {0} bytes is longer than allowed")]
    TooLong(usize),
    #[error("a frame makes no sense")]
    Garbled,
    #[error("the other agent speaks version {0} of the protocol, this one version {PROTOCOL}")]
    OtherVersion(u16),
}

/// Sends one frame.
pub(crate) async fn write<T: Serialize + Sync>(
    stream: &mut quinn::SendStream,
    value: &T,
) -> Result<(), FrameError> {
    write_bytes(stream, &encode(value)?).await
}

/// Sends the first frame of a connection.
pub(crate) async fn write_opening(
    stream: &mut quinn::SendStream,
    opening: &Opening,
) -> Result<(), FrameError> {
    write_bytes(stream, &encode_opening(opening)?).await
}

/// Receives one frame of at most `limit` bytes.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut quinn::RecvStream,
    limit: usize,
) -> Result<T, FrameError> {
    decode(&read_bytes(stream, limit).await?)
}

/// Receives the first frame of a connection.
pub(crate) async fn read_opening(stream: &mut quinn::RecvStream) -> Result<Opening, FrameError> {
    decode_opening(&read_bytes(stream, HELLO_BYTES_MAX).await?)
}

/// Another host's sentence, made fit to print: one line, not too long.
pub(crate) fn sentence(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(SENTENCE_MAX).collect();
    if text.is_empty() { "no reason was given".to_owned() } else { text }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    postcard::to_allocvec(value).map_err(|_| FrameError::Garbled)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Garbled),
    }
}

pub(crate) fn encode_opening(opening: &Opening) -> Result<Vec<u8>, FrameError> {
    let mut bytes = PROTOCOL.to_be_bytes().to_vec();
    bytes.extend_from_slice(&encode(opening)?);
    Ok(bytes)
}

pub(crate) fn decode_opening(bytes: &[u8]) -> Result<Opening, FrameError> {
    let (version, rest) = bytes.split_first_chunk::<2>().ok_or(FrameError::Garbled)?;
    match u16::from_be_bytes(*version) {
        PROTOCOL => decode(rest),
        other => Err(FrameError::OtherVersion(other)),
    }
}

async fn write_bytes(stream: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(bytes.len()).map_err(|_| FrameError::TooLong(bytes.len()))?;
    stream.write_all(&length.to_be_bytes()).await.map_err(|_| FrameError::Cut)?;
    stream.write_all(bytes).await.map_err(|_| FrameError::Cut)
}

async fn read_bytes(stream: &mut quinn::RecvStream, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(|_| FrameError::Cut)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(FrameError::TooLong(length));
    }
    // The buffer grows with what arrives, not with what was announced.
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let chunk = stream.read_chunk(length - bytes.len(), true).await;
        let chunk = chunk.ok().flatten().ok_or(FrameError::Cut)?;
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_later_version_is_told_apart_whatever_follows() {
        assert!(matches!(decode_opening(&[0, 2, 255, 255]), Err(FrameError::OtherVersion(2))));
        assert!(matches!(decode_opening(&[0]), Err(FrameError::Garbled)));
    }

    #[test]
    fn a_foreign_sentence_is_one_printable_line() {
        assert_eq!(sentence(b"a\x1b[31m\nb"), "a[31mb");
        assert_eq!(sentence(b"\xff").chars().count(), 1);
        assert_eq!(sentence(&[b'x'; 5_000]).len(), SENTENCE_MAX);
        assert_eq!(sentence(b""), "no reason was given");
    }

    #[test]
    fn nothing_may_follow_a_frames_value() {
        let mut bytes = encode(&Request::Renew).unwrap();
        assert_eq!(decode::<Request>(&bytes).unwrap(), Request::Renew);
        bytes.push(0);
        assert!(decode::<Request>(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_opening(&bytes);
            let _ = decode_opening(&[&PROTOCOL.to_be_bytes()[..], &bytes].concat());
            let _ = decode::<Hello>(&bytes);
            let _ = decode::<JoinReply>(&bytes);
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Reply>(&bytes);
            let _ = sentence(&bytes);
        }

        #[test]
        fn a_flipped_bit_does_no_harm(at in 0_usize..1_000) {
            let ask = JoinAsk {
                fabric: [1; 16], proof: [2; 32], name: "web".to_owned(),
                addresses: vec![IpAddr::from([10, 0, 0, 1])], quic_port: 7373, vxlan_port: 7374,
                version: "0.1.0".to_owned(),
            };
            let mut bytes = encode(&Opening::Join(ask)).unwrap();
            let bit = at % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decode::<Opening>(&bytes);
        }
    }
}
