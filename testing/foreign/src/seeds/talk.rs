//! From other hosts: what is said on connections, and what a member tells another.

use shoal_transport::FrameKind;

use super::{FABRIC, Seeds, certificates};
use crate::fabric::{founder, joined, let_in};
use crate::join;

/// Each preceded by the number of its kind. Frames are postcard: an enum's variant is a number, a list is preceded by
/// its length.
pub(crate) fn transport_frames() -> Seeds {
    let certificate = listed(&certificates()[0].1);
    let (proof, secret) = ([2; 32], [3; 32]);
    let address: &[u8] = &[0, 192, 0, 2, 1];
    let ask = [FABRIC.bytes(), &secret[..], b"\x06host-2", &[1], address, b"\xcd\x39\xce\x39", b"\x050.1.0"];
    let member = [&[1; 16][..], &[2; 32]].concat();
    let grant = [&[0], &proof[..], &certificate, &proof, &[1], &member, &listed(b"welcome"), address];
    let ends = [&[5; 16][..], &[0, 0, 0, 1], &[0, 0, 0, 2]].concat();
    let frames: [(FrameKind, &str, Vec<u8>); 14] = [
        (FrameKind::Opening, "hello", [&[0, 1, 0], certificate.as_slice(), &[7]].concat()),
        (FrameKind::Opening, "join", [&[0, 1, 1], ask.concat().as_slice()].concat()),
        (FrameKind::Opening, "later-version", vec![0, 2, 9, 9]),
        (FrameKind::Hello, "hello", [certificate.as_slice(), &[7]].concat()),
        (FrameKind::Ready, "ready", Vec::new()),
        (FrameKind::JoinReply, "granted", grant.concat()),
        (FrameKind::JoinReply, "other-fabric", [&[1, 0], FABRIC.bytes().as_slice()].concat()),
        (FrameKind::JoinReply, "said", [&[1, 5], listed(b"no more hosts").as_slice()].concat()),
        (FrameKind::Request, "announce", [&[1], certificate.as_slice()].concat()),
        (FrameKind::Reply, "renewed", [&[0], certificate.as_slice()].concat()),
        (FrameKind::Reply, "refused", [&[2], listed(b"later").as_slice()].concat()),
        (FrameKind::Relay, "pass", [&[1], ends.as_slice(), &[4, 0, 0, 0]].concat()),
        (FrameKind::Relay, "passed", [&[2], ends.as_slice()].concat()),
        (FrameKind::Relay, "no-way", [&[3], &ends[..16]].concat()),
    ];
    let number = |kind| FrameKind::ALL.iter().position(|it| *it == kind).and_then(|at| u8::try_from(at).ok());
    let seed = |(kind, name, frame): (FrameKind, &str, Vec<u8>)| {
        let number = number(kind).expect("every kind is in the list");
        (format!("{kind:?}-{name}").to_lowercase(), [&[number], frame.as_slice()].concat())
    };
    let sentence = ("sentence".to_owned(), [&[7], "the agent\nthere stopped \u{1b}[31m".as_bytes()].concat());
    frames.map(seed).into_iter().chain([sentence]).collect()
}

/// Bytes with their number before them, in postcard.
fn listed(bytes: &[u8]) -> Vec<u8> {
    let mut listed = Vec::new();
    let mut length = bytes.len();
    while length > 0x7f {
        listed.push(length as u8 | 0x80);
        length >>= 7;
    }
    listed.push(length as u8);
    listed.extend_from_slice(bytes);
    listed
}

/// What a host says to the one that let it in, until it has addresses.
pub(crate) fn fabric_messages() -> Seeds {
    let sent = joined(&mut founder(), 3).sent;
    vec![("until-it-has-addresses".to_owned(), join(&sent.iter().map(Vec::as_slice).collect::<Vec<_>>()))]
}

/// The welcome of a host that has a network.
pub(crate) fn welcomes() -> Seeds {
    vec![("founder".to_owned(), let_in(&founder()).welcome)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::host;
    use crate::parts;

    #[test]
    fn every_frame_is_read_as_what_it_is() {
        for (name, bytes) in transport_frames() {
            let Some(kind) = FrameKind::ALL.get(usize::from(bytes[0])) else { continue };
            match kind.rewritten(&bytes[1..]) {
                Ok(written) => assert_eq!(written, bytes[1..], "{name}"),
                Err(sentence) => assert!(name.ends_with("later-version"), "{name}: {sentence}"),
            }
        }
    }

    #[test]
    fn a_joined_host_is_heard_and_asks_for_addresses() {
        let mut founder = founder();
        let (_, messages) = &fabric_messages()[0];
        for message in parts(messages) {
            founder.hear(message);
        }
        assert!(founder.fabric.hosts().iter().any(|summary| summary.id == host(2)), "host 1 knows host 2");
        assert_eq!(founder.fabric.unknown_messages(), 0);
        let kinds: Vec<u8> = parts(messages).iter().map(|message| message[0]).collect();
        assert!(kinds.contains(&b'a') && kinds.contains(&b'f'), "{kinds:?}");
    }
}
