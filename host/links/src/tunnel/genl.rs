//! Generic netlink with the kernel's WireGuard: a socket, and attributes written and read.
//!
//! Three messages are all it takes, so they stand here instead of in three more libraries; and no private key passes
//! through a library that may log messages. Numbers are those of `linux/genetlink.h` and `linux/netlink.h`. Nothing
//! read is trusted to have the length that it says.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLA_F_NESTED: u16 = 0x8000;
/// Flags in an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// Bytes of a message's two headers.
const HEADERS: usize = 16 + 4;

/// The kernel's messages of a dump are never longer than this.
const BUFFER: usize = 64 << 10;

/// A socket to one family of the network namespace of the thread that opened it.
pub(crate) struct Genl {
    socket: OwnedFd,
    family: u16,
}

impl Genl {
    /// Connects and asks for the family's number.
    ///
    /// # Errors
    /// `ENOENT` if the kernel has no such family.
    pub(crate) fn open(family: &str) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // The kernel answers within the call that sends; a limit all the same, as nothing may hang the agent.
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(5))?;
        let mut control = Self { socket, family: GENL_ID_CTRL };
        let name = [family.as_bytes(), &[0]].concat();
        let request = Attributes::new().add(CTRL_ATTR_FAMILY_NAME, &name);
        let answers = control.talk(CTRL_CMD_GETFAMILY, NLM_F_ACK, &request)?;
        let id = answers
            .iter()
            .flat_map(|answer| attributes(answer))
            .find_map(|(kind, value)| (kind == CTRL_ATTR_FAMILY_ID).then(|| u16_of(value))?);
        control.family = id.ok_or(nix::Error::ENOENT)?;
        Ok(control)
    }

    /// Sends a command and waits for its success.
    pub(crate) fn command(&self, command: u8, attributes: &Attributes) -> nix::Result<()> {
        self.talk(command, NLM_F_ACK, attributes).map(drop)
    }

    /// Asks for a dump; the attributes of each message of the answer.
    pub(crate) fn dump(&self, command: u8, attributes: &Attributes) -> nix::Result<Vec<Vec<u8>>> {
        self.talk(command, NLM_F_DUMP, attributes)
    }

    fn talk(&self, command: u8, flags: u16, attributes: &Attributes) -> nix::Result<Vec<Vec<u8>>> {
        let length = u32::try_from(HEADERS + attributes.0.len()).map_err(|_| nix::Error::EMSGSIZE)?;
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(self.family.to_ne_bytes());
        request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        // Sequence number and port: one question is open at a time, on a socket of its own.
        request.extend([0; 8]);
        request.extend([command, 1, 0, 0]);
        request.extend_from_slice(&attributes.0);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let (mut answers, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        loop {
            let count = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if messages(buffer.get(..count).unwrap_or_default(), &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Sorts the messages of one datagram; whether the answer ends with it.
pub(crate) fn messages(mut bytes: &[u8], answers: &mut Vec<Vec<u8>>) -> nix::Result<bool> {
    while let Some(length) = bytes.get(..4).and_then(u32_of).and_then(|length| usize::try_from(length).ok()) {
        let message = bytes.get(..length).ok_or(nix::Error::EBADMSG)?;
        let kind = message.get(4..6).and_then(u16_of).ok_or(nix::Error::EBADMSG)?;
        let code = message.get(16..20).and_then(u32_of).unwrap_or_default();
        match kind {
            NLMSG_DONE | NLMSG_ERROR if code == 0 => return Ok(true),
            NLMSG_DONE | NLMSG_ERROR => {
                return Err(nix::Error::from_raw(code.cast_signed().saturating_neg()));
            }
            _ => answers.push(message.get(HEADERS..).unwrap_or_default().to_vec()),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Attributes being written.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one. Its length must be below 64 KiB, which whoever writes a list keeps.
    pub(crate) fn add(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn add_if(self, kind: u16, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.add(kind, value),
            None => self,
        }
    }

    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.add(kind | NLA_F_NESTED, &inner.0)
    }
}

/// Type and value of each attribute; ends at the first that is cut off.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(bytes.get(..2).and_then(u16_of)?);
        let kind = bytes.get(2..4).and_then(u16_of)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u64_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let inner = Attributes::new().add(1, &[9]).add_if(2, None);
        let written = Attributes::new().add(3, &[1, 2, 3, 4, 5]).nest(4, &inner);
        let read: Vec<_> = attributes(&written.0).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], (3, [1, 2, 3, 4, 5].as_slice()));
        assert_eq!((read[1].0, attributes(read[1].1).collect::<Vec<_>>()), (4, vec![(1, [9].as_slice())]));
    }

    #[test]
    fn an_answer_that_is_cut_off_anywhere_ends_early() {
        let written = Attributes::new().add(3, &[1, 2, 3, 4, 5]).add(4, &[6]);
        for end in 0..written.0.len() - 3 {
            assert!(attributes(&written.0[..end]).count() < 2);
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0, "a length below its own header's");
    }

    #[test]
    fn a_refusal_is_the_kernels_number() {
        let mut message = 36u32.to_ne_bytes().to_vec();
        message.extend(NLMSG_ERROR.to_ne_bytes());
        message.resize(16, 0);
        message.extend((-2i32).to_ne_bytes());
        message.resize(36, 0);
        assert_eq!(messages(&message, &mut Vec::new()), Err(nix::Error::ENOENT));
        assert_eq!(messages(&message[..20], &mut Vec::new()), Err(nix::Error::EBADMSG));
    }
}
