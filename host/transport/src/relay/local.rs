//! The socket on the loopback device where this host's ends send what is to be relayed.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

/// Longest packet that is taken, bytes: an underlay of jumbo frames.
pub(crate) const PACKET_BYTES_MAX: usize = 9_216;

/// All of 127.0.0.0/8 on one port, and nothing that comes over another device.
#[derive(Debug)]
pub(crate) struct Local {
    socket: tokio::net::UdpSocket,
}

/// What an end has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The address it was sent to.
    pub(crate) to: Ipv4Addr,
    /// The port it came from.
    pub(crate) port: u16,
    /// How long it is, bytes.
    pub(crate) length: usize,
}

impl Local {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(b"lo"))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        // An end sends in bursts; the kernel may grant less, which is no error.
        let _ = socket.set_recv_buffer_size(4 << 20);
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(Self { socket: tokio::net::UdpSocket::from_std(UdpSocket::from(socket))? })
    }

    /// Waits for a packet.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Taken> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, || self.try_receive(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Taken> {
        let mut control = nix::cmsg_space!(libc::in_pktinfo);
        let mut pieces = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrIn>(fd, &mut pieces, Some(&mut control), MsgFlags::empty())?;
        let to = message.cmsgs()?.find_map(|it| match it {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr.s_addr),
            _ => None,
        });
        let lacking = || io::Error::from(io::ErrorKind::InvalidData);
        let port = message.address.ok_or_else(lacking)?.port();
        let to = Ipv4Addr::from(u32::from_be(to.ok_or_else(lacking)?));
        Ok(Taken { to, port, length: message.bytes })
    }

    /// Hands a packet to the end on `port`, as if from `address`; never waits.
    pub(crate) fn send(&self, packet: &[u8], address: Ipv4Addr, port: u16) -> io::Result<()> {
        let source = libc::in_addr { s_addr: u32::from(address).to_be() };
        let any = libc::in_addr { s_addr: 0 };
        let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let to = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let send = || {
            let sent = sendmsg(
                self.socket.as_raw_fd(),
                &[IoSlice::new(packet)],
                &control,
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            );
            Ok(sent.map(drop)?)
        };
        self.socket.try_io(Interest::WRITABLE, send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_tells_which_address_it_was_sent_to_and_the_answer_comes_from_there() {
        let local = Local::open(0).unwrap();
        let port = local.socket.local_addr().unwrap().port();
        let end = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = SocketAddrV4::new(Ipv4Addr::new(127, 200, 3, 4), port);
        end.send_to(b"sealed", place).await.unwrap();
        let mut buffer = [0; 64];
        let taken = local.receive(&mut buffer).await.unwrap();
        let end_port = end.local_addr().unwrap().port();
        assert_eq!(taken, Taken { to: *place.ip(), port: end_port, length: 6 });

        local.socket.writable().await.unwrap();
        local.send(b"answer", *place.ip(), end_port).unwrap();
        let (length, from) = end.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"answer"[..], place.into()));
    }
}
