//! UDP sockets of the tunnel: many datagrams to a call in both directions.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind,
    sendmsg, setsockopt, socket, sockopt,
};

use crate::counters::{Count, Counters, Drop};
use crate::outbox::{Outbox, Row};

/// Bytes that the kernel may keep for us in each direction.
const BUFFER: usize = 8 << 20;

/// Sockets of one port: one for each worker. The kernel gives all datagrams of one sender to one of them.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The port.
    pub(crate) port: u16,
    all: Vec<Socket>,
}

/// One socket, of IPv6 with IPv4 in it, or of IPv4 where the kernel has no IPv6.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    is_v6: bool,
}

impl Sockets {
    /// Opens a port, 0 for any.
    pub(crate) fn open(port: u16, count: usize) -> io::Result<Self> {
        // Sockets that share a port do not notice a stranger who shares it too: the first try is alone.
        let alone = Socket::open(port, false)?;
        let port = alone.socket.local_addr()?.port();
        if count < 2 {
            return Ok(Self { port, all: vec![alone] });
        }
        drop(alone);
        let all = (0..count).map(|_| Socket::open(port, true)).collect::<io::Result<_>>()?;
        Ok(Self { port, all })
    }

    /// The socket of a worker.
    pub(crate) fn of(&self, worker: usize) -> &Socket {
        &self.all[worker % self.all.len()]
    }

    /// Wakes all that wait for datagrams; none comes any more.
    pub(crate) fn shut(&self) {
        for socket in &self.all {
            // It says that nothing is connected, and wakes them all the same.
            let _ = nix::sys::socket::shutdown(socket.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
    }
}

/// What does not fit the underlay is lost, never fragmented: else probes of a path would pass whatever its size, and no
/// "too big" that anybody sends changes how large packets may be; ip(7), ipv6(7).
#[allow(unsafe_code, reason = "the macro's own: options that have no safe wrapper")]
mod discovery {
    use nix::libc;
    use nix::sys::socket::sockopt::SetStruct;

    #[derive(Debug, Clone, Copy)]
    pub(super) struct V4;
    nix::setsockopt_impl!(
        V4,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::c_int,
        SetStruct<'_, libc::c_int>
    );

    #[derive(Debug, Clone, Copy)]
    pub(super) struct V6;
    nix::setsockopt_impl!(
        V6,
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::c_int,
        SetStruct<'_, libc::c_int>
    );
}

impl Socket {
    fn open(port: u16, is_shared: bool) -> io::Result<Self> {
        match Self::open_family(port, is_shared, true) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                Self::open_family(port, is_shared, false)
            }
            // IPv6 may be compiled in and switched off.
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                Self::open_family(port, is_shared, false)
            }
            opened => opened,
        }
    }

    fn open_family(port: u16, is_shared: bool, is_v6: bool) -> io::Result<Self> {
        let family = if is_v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::UdpGroSegment, &true)?;
        setsockopt(&fd, discovery::V4, &libc::IP_PMTUDISC_PROBE)?;
        setsockopt(&fd, sockopt::ReusePort, &is_shared)?;
        // More than the system's limit needs a privilege; less is slower, not wrong.
        if setsockopt(&fd, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &BUFFER)?;
        }
        if setsockopt(&fd, sockopt::SndBufForce, &BUFFER).is_err() {
            setsockopt(&fd, sockopt::SndBuf, &BUFFER)?;
        }
        if is_v6 {
            setsockopt(&fd, discovery::V6, &libc::IPV6_PMTUDISC_PROBE)?;
            setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
            bind(
                fd.as_raw_fd(),
                &SockaddrIn6::from(std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)),
            )?;
        } else {
            bind(
                fd.as_raw_fd(),
                &SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
            )?;
        }
        Ok(Self { socket: UdpSocket::from(fd), is_v6 })
    }

    /// Sends all rows of an outbox.
    pub(crate) fn send(&self, outbox: &mut Outbox, counters: &Counters) {
        outbox.drain(|row, bytes| self.send_row(row, bytes, counters));
    }

    /// The descriptor, for [`crate::receive`].
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn send_row(&self, row: &Row, bytes: &[u8], counters: &Counters) {
        counters.add(Count::SendCalls, 1);
        counters.add(Count::SendCallsCut, usize::from(row.count > 1));
        let size = (row.count > 1).then_some(row.size as u16);
        match self.send_to(row.to, bytes, size) {
            Ok(()) => {}
            // The path is too narrow for this size now, or the device cannot compute checksums.
            Err(Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE) if row.count > 1 => {
                counters.add(Count::SendUncut, 1);
                let failed =
                    bytes.chunks(row.size).filter(|one| self.send_to(row.to, one, None).is_err()).count();
                counters.drop_many(Drop::SendFailed, failed);
            }
            Err(_) => counters.drop_many(Drop::SendFailed, row.count),
        }
    }

    fn send_to(&self, to: SocketAddr, bytes: &[u8], size: Option<u16>) -> nix::Result<()> {
        match (self.is_v6, to) {
            (true, to) => self.send_with(&v6(to), bytes, size),
            (false, SocketAddr::V4(to)) => self.send_with(&SockaddrIn::from(to), bytes, size),
            (false, SocketAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
        }
    }

    fn send_with<A: SockaddrLike>(&self, to: &A, bytes: &[u8], size: Option<u16>) -> nix::Result<()> {
        let parts = [io::IoSlice::new(bytes)];
        let fd = self.socket.as_raw_fd();
        let cut = size.as_ref().map(ControlMessage::UdpGsoSegments);
        loop {
            return match sendmsg(fd, &parts, cut.as_slice(), MsgFlags::empty(), Some(to)) {
                Err(Errno::EINTR) => continue,
                sent => sent.map(drop),
            };
        }
    }
}

fn v6(address: SocketAddr) -> SockaddrIn6 {
    SockaddrIn6::from(match address {
        SocketAddr::V6(address) => address,
        SocketAddr::V4(address) => {
            std::net::SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0)
        }
    })
}
