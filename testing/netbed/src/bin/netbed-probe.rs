//! Packed into images: sends what can be counted, and what must not get through.
//!
//! One thread per job, and no more libraries than any program has, so that it runs in an image that holds nothing else.

use std::env::args;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt, socket,
    sockopt,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "usage:
  netbed-probe take PORT BYTES             take BYTES from one connection and check each against the pattern
  netbed-probe give ADDRESS:PORT BYTES     send the pattern and wait for the taker's word
  netbed-probe echo PORT                   answer every datagram and every byte of every connection
  netbed-probe steady ADDRESS:PORT COUNT MICROSECONDS   numbered datagrams, counted when they come back
  netbed-probe hold ADDRESS:PORT COUNT MICROSECONDS     numbered messages on one connection, each awaited
  netbed-probe vxlan ADDRESS:PORT VNI SOURCE TARGET COUNT   forged tunnel packets with an IPv4 ping inside
  netbed-probe raw FROM ADDRESS:PORT VNI SOURCE TARGET COUNT    the same through a raw socket, from another's address";

fn main() -> ExitCode {
    let words: Vec<String> = args().skip(1).collect();
    match answer(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netbed-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(words: &[&str]) -> Outcome {
    match words {
        ["take", port, bytes] => take(port.parse()?, bytes.parse()?),
        ["give", target, bytes] => give(target.parse()?, bytes.parse()?),
        ["echo", port] => echo(port.parse()?),
        ["steady", target, count, pause] => steady(target.parse()?, count.parse()?, micros(pause)?),
        ["hold", target, count, pause] => hold(target.parse()?, count.parse()?, micros(pause)?),
        ["vxlan", target, vni, source, inner, count] => {
            let packet = forged(vni.parse()?, source.parse()?, inner.parse()?);
            send_forged(target.parse()?, &packet, count.parse()?)
        }
        ["raw", from, target, vni, source, inner, count] => {
            let packet = forged(vni.parse()?, source.parse()?, inner.parse()?);
            send_raw(from.parse()?, target.parse()?, &packet, count.parse()?)
        }
        _ => Err(USAGE.into()),
    }
}

/// Bytes of a long pattern that repeats nowhere within a transfer (xorshift64, Marsaglia 2003), so that a lost,
/// doubled or swapped piece is seen.
struct Pattern(u64);

impl Pattern {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

    fn fill(&mut self, piece: &mut [u8]) {
        for word in piece.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
        for piece in piece.chunks_exact_mut(512) {
            mark(&mut piece[..MARKED]);
        }
    }
}

/// Bytes of the marker in every message, and in every 512 bytes of a transfer: whoever reads along finds it.
const MARKED: usize = 64;

fn mark(bytes: &mut [u8]) {
    bytes.iter_mut().zip(shoal_netbed::MARKER.iter().cycle()).for_each(|(byte, mark)| *byte = *mark);
}

/// A numbered message: the number, and the marker.
fn message(number: u64) -> [u8; 8 + MARKED] {
    let mut message = [0; 8 + MARKED];
    message[..8].copy_from_slice(&number.to_le_bytes());
    mark(&mut message[8..]);
    message
}

/// Bytes handled at once; transfers are whole multiples.
const PIECE: usize = 1 << 18;

fn take(port: u16, bytes: u64) -> Outcome {
    let listener = TcpListener::bind(("::", port))?;
    println!("listening");
    let (mut peer, _) = listener.accept()?;
    let (mut pattern, mut expected, mut piece) = (Pattern(Pattern::SEED), vec![0; PIECE], vec![0; PIECE]);
    for number in 0..bytes / PIECE as u64 {
        peer.read_exact(&mut piece)?;
        pattern.fill(&mut expected);
        if piece != expected {
            return Err(format!("piece {number} of {PIECE} bytes is not what was sent").into());
        }
    }
    peer.write_all(b"all right")?;
    println!("took {bytes} bytes, each as it was sent");
    Ok(())
}

fn give(target: SocketAddr, bytes: u64) -> Outcome {
    let started = clock();
    let mut peer = TcpStream::connect_timeout(&target, Duration::from_secs(10))?;
    let (mut pattern, mut piece) = (Pattern(Pattern::SEED), vec![0; PIECE]);
    for _ in 0..bytes / PIECE as u64 {
        pattern.fill(&mut piece);
        peer.write_all(&piece)?;
    }
    let mut word = [0; 9];
    peer.read_exact(&mut word)?;
    println!("gave {bytes} bytes in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn echo(port: u16) -> Outcome {
    let (datagrams, connections) =
        (patient(UdpSocket::bind(("::", port))?)?, TcpListener::bind(("::", port))?);
    std::thread::spawn(move || {
        let mut piece = [0; 2048];
        while let Ok((length, from)) = datagrams.recv_from(&mut piece) {
            // A sender that is gone is no reason to stop.
            let _ = datagrams.send_to(&piece[..length], from);
        }
    });
    println!("listening");
    for peer in connections.incoming() {
        let mut peer = peer?;
        std::thread::spawn(move || {
            let mut piece = [0; 2048];
            while let Ok(length @ 1..) = peer.read(&mut piece) {
                if peer.write_all(&piece[..length]).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Gives a socket room for thousands of packets: on a starved machine its thread may not run for a second, and what
/// overflows a socket's buffer was not lost by the network.
fn patient(socket: UdpSocket) -> Result<UdpSocket, nix::Error> {
    setsockopt(&socket, sockopt::RcvBuf, &shoal_netbed::RECEIVE_BUFFER)?;
    Ok(socket)
}

fn steady(target: SocketAddr, count: u64, pause: Duration) -> Outcome {
    let socket = patient(UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?)?;
    socket.connect(target)?;
    let answers = socket.try_clone()?;
    answers.set_read_timeout(Some(Duration::from_secs(2)))?;
    let counter = std::thread::spawn(move || {
        let mut seen = vec![false; usize::try_from(count).unwrap_or(0)];
        let mut back = [0; 2048];
        while let Ok(length) = answers.recv(&mut back) {
            let Some(number) = back.first_chunk().map(|number| u64::from_le_bytes(*number)) else { break };
            if length == 8 + MARKED
                && let Some(slot) = usize::try_from(number).ok().and_then(|at| seen.get_mut(at))
            {
                *slot = true;
            }
            if seen.last() == Some(&true) && seen.iter().all(|came| *came) {
                break;
            }
        }
        seen
    });
    let started = clock();
    for number in 0..count {
        wait_until(started, pause * u32::try_from(number)?);
        // ECONNREFUSED of an earlier datagram shows here: it is counted as lost by its number.
        let _ = socket.send(&message(number));
    }
    let seen = counter.join().map_err(|_| "the counting thread panicked")?;
    let missing: Vec<_> =
        seen.iter().enumerate().filter(|(_, came)| !**came).map(|(at, _)| at).take(10).collect();
    if !missing.is_empty() {
        println!("the first that are missing: {missing:?}");
    }
    println!("sent {count} received {}", seen.iter().filter(|came| **came).count());
    Ok(())
}

fn hold(target: SocketAddr, count: u64, pause: Duration) -> Outcome {
    let mut peer = TcpStream::connect_timeout(&target, Duration::from_secs(10))?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (started, mut longest) = (clock(), Duration::ZERO);
    for number in 0..count {
        wait_until(started, pause * u32::try_from(number)?);
        let asked = clock();
        peer.write_all(&message(number))?;
        let mut back = [0; 8 + MARKED];
        peer.read_exact(&mut back)?;
        if back != message(number) {
            return Err(format!("message {number} came back as another").into());
        }
        longest = longest.max(asked.elapsed());
    }
    println!("longest wait {} ms", longest.as_millis());
    println!("sent {count} received {count}");
    Ok(())
}

/// A VXLAN packet (RFC 7348, section 5) as the tunnel would carry it: Ethernet, IPv4, ICMP echo request.
fn forged(vni: u32, source: std::net::Ipv4Addr, target: std::net::Ipv4Addr) -> Vec<u8> {
    let icmp = with_checksum(vec![8, 0, 0, 0, 0x5a, 0x5a, 0, 1, b's', b'h', b'o', b'a', b'l', b'!'], 2);
    let length = u16::try_from(20 + icmp.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut ip = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, 1, 0, 0];
    ip.extend(source.octets());
    ip.extend(target.octets());
    let vni = vni.to_be_bytes();
    let mut packet = vec![0x08, 0, 0, 0, vni[1], vni[2], vni[3], 0];
    packet.extend([0xff; 6]);
    packet.extend([0x02, 0, 0, 0, 0, 0x66, 0x08, 0x00]);
    packet.extend(with_checksum(ip, 10));
    packet.extend(icmp);
    packet
}

/// Puts the Internet checksum (RFC 1071) of `bytes` at `place`.
fn with_checksum(mut bytes: Vec<u8>, place: usize) -> Vec<u8> {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = (!(sum as u16)).to_be_bytes();
    bytes[place..place + 2].copy_from_slice(&sum);
    bytes
}

fn send_forged(target: SocketAddr, packet: &[u8], count: u64) -> Outcome {
    let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    for _ in 0..count {
        // A closed port answers with an error to the next send; the count of what was sent does not change.
        let _ = socket.send_to(packet, target);
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("sent {count}");
    Ok(())
}

/// UDP between two ports of one number, the IPv4 header made here (raw(7), IPPROTO_RAW).
fn send_raw(from: std::net::Ipv4Addr, target: std::net::SocketAddrV4, payload: &[u8], count: u64) -> Outcome {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    let length = |headers: usize| u16::try_from(headers + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let (all, port) = (length(28), target.port().to_be_bytes());
    let mut packet = vec![0x45, 0, all[0], all[1], 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend([from.octets(), target.ip().octets()].concat());
    packet = with_checksum(packet, 10);
    packet.extend([port, port, length(8), [0, 0]].concat());
    packet.extend(payload);
    for _ in 0..count {
        // What the kernel refuses did not get out, which is as good.
        let _ = sendto(raw.as_raw_fd(), &packet, &SockaddrIn::from(target), MsgFlags::empty());
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("sent {count}");
    Ok(())
}

fn micros(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_micros)
}

fn wait_until(started: Instant, offset: Duration) {
    if let Some(rest) = offset.checked_sub(started.elapsed()) {
        std::thread::sleep(rest);
    }
}

#[allow(clippy::disallowed_methods, reason = "a probe measures real time")]
fn clock() -> Instant {
    Instant::now()
}
