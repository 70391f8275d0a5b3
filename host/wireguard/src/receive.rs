//! Receives messages: several in one call, each of one or more datagrams of one sender.

use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;

/// Messages received at once.
pub(crate) const MESSAGES: usize = 4;
/// Bytes of each: the longest row of datagrams that the kernel joins.
pub(crate) const BYTES: usize = 1 << 16;
/// Room for control messages: one with a number.
const CONTROL: usize = 32;

/// Buffers for one call after the other.
pub(crate) struct Receiver {
    bytes: Vec<u8>,
    control: Box<[Control; MESSAGES]>,
    names: Box<[libc::sockaddr_storage; MESSAGES]>,
    lengths: [usize; MESSAGES],
    sizes: [usize; MESSAGES],
    is_cut_off: [bool; MESSAGES],
}

/// As control messages must be aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Datagrams of one sender.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Who sent them.
    pub(crate) from: SocketAddr,
    /// All of them, side by side.
    pub(crate) bytes: &'a [u8],
    /// Length of each but the last, bytes.
    pub(crate) size: usize,
    /// There was more than the buffer could hold.
    pub(crate) is_cut_off: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            bytes: vec![0; MESSAGES * BYTES],
            control: Box::new([Control([0; CONTROL]); MESSAGES]),
            names: Box::new([empty_name(); MESSAGES]),
            lengths: [0; MESSAGES],
            sizes: [0; MESSAGES],
            is_cut_off: [false; MESSAGES],
        }
    }
}

impl Receiver {
    /// Waits for a message and takes it alone, or takes what is there without waiting; returns how many.
    #[allow(unsafe_code, reason = "nix's recvmmsg does not restore the lengths of the headers it uses again")]
    pub(crate) fn receive(&mut self, fd: RawFd, waits: bool) -> nix::Result<usize> {
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: BYTES }; MESSAGES];
        // SAFETY: all zero is a message header without name, parts and control.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { MaybeUninit::zeroed().assume_init() };
        for ((at, header), bytes) in headers.iter_mut().enumerate().zip(self.bytes.chunks_exact_mut(BYTES)) {
            parts[at].iov_base = bytes.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = &raw mut parts[at];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut self.names[at]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_control = self.control[at].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
        }
        let (count, flags) = if waits { (1, 0) } else { (MESSAGES as u32, libc::MSG_DONTWAIT) };
        // SAFETY: every pointer leads to a buffer of the length beside it, and all of them outlive the call.
        let received =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
        let received = Errno::result(received)? as usize;
        for (at, header) in headers.iter().enumerate().take(received) {
            self.lengths[at] = header.msg_len as usize;
            self.is_cut_off[at] = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let control = &self.control[at].0[..header.msg_hdr.msg_controllen.min(CONTROL)];
            self.sizes[at] = joined_size(control).unwrap_or(self.lengths[at]);
        }
        Ok(received)
    }

    /// A message of the last call.
    pub(crate) fn message(&self, at: usize) -> Option<Message<'_>> {
        let bytes = &self.bytes[at * BYTES..][..self.lengths[at]];
        let size = self.sizes[at].max(1);
        Some(Message { from: address(&self.names[at])?, bytes, size, is_cut_off: self.is_cut_off[at] })
    }
}

/// The length of the datagrams that the kernel has joined: the control message UDP_GRO, an int.
fn joined_size(control: &[u8]) -> Option<usize> {
    // struct cmsghdr: length, level, type; then the number.
    let head = size_of::<libc::cmsghdr>();
    let level = i32::from_ne_bytes(*control.get(8..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*control.get(12..)?.first_chunk()?);
    let size = i32::from_ne_bytes(*control.get(head..)?.first_chunk()?);
    let is_joined = level == libc::SOL_UDP && kind == libc::UDP_GRO;
    is_joined.then(|| usize::try_from(size).ok())?
}

/// The sender, IPv4 as IPv4.
#[allow(unsafe_code, reason = "the name's kind says what its bytes are")]
fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET6 => {
            // SAFETY: the kernel has written a name of this family, which is shorter than the storage.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::new(v4.into(), port),
                None => std::net::SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into(),
            })
        }
        libc::AF_INET => {
            // SAFETY: as above.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(name.sin_addr.s_addr);
            Some(SocketAddr::new(std::net::Ipv4Addr::from(ip).into(), u16::from_be(name.sin_port)))
        }
        _ => None,
    }
}

#[allow(unsafe_code, reason = "a name without a family")]
fn empty_name() -> libc::sockaddr_storage {
    // SAFETY: all zero is a name of no family.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
