//! The text protocol by which user-space WireGuards are configured: `key=value` lines over a Unix socket
//! (<https://www.wireguard.com/xplatform/>, "Configuration Protocol").
//!
//! An answer comes from a process that may be wedged or somebody else's, so each exchange has a time limit and a
//! largest answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use shoal_types::{WireGuardKey, WireGuardSecret, hex, unhex};

use super::settings::{PeerSettings, Settings, Step, secret};
use super::timer::Timer;

/// Longest that one exchange may take; a healthy process answers within a millisecond or two.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest answer read, bytes: some 40,000 other ends.
const ANSWER_MAX: usize = 16 << 20;

/// Why an exchange failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens.
    NobodyThere,
    /// Somebody listens and does not answer in time.
    NoAnswer,
    /// The answer is none of this protocol, or says no.
    Refused(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NobodyThere => f.write_str("its process is not running"),
            Self::NoAnswer => f.write_str("its process does not answer"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// A connection to an engine.
pub(crate) struct Engine {
    stream: UnixStream,
    /// Process that listens.
    pub(crate) pid: i32,
}

impl Engine {
    /// Connects, without waiting for a place in the queue of one that has stopped answering.
    pub(crate) fn connect(path: &Path) -> Result<Self, Failure> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let refused = |errno: nix::Error| Failure::Refused(format!("its control socket: {}", errno.desc()));
        let fd: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(refused)?;
        let address = UnixAddr::new(path).map_err(refused)?;
        match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
            Ok(()) => {}
            Err(nix::Error::ENOENT | nix::Error::ECONNREFUSED) => return Err(Failure::NobodyThere),
            Err(nix::Error::EAGAIN) => return Err(Failure::NoAnswer),
            Err(errno) => return Err(refused(errno)),
        }
        let pid = getsockopt(&fd, PeerCredentials).map_err(refused)?.pid();
        let stream = UnixStream::from(fd);
        stream.set_nonblocking(false).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Self { stream, pid })
    }

    /// Reads all settings.
    pub(crate) fn get(mut self) -> Result<Settings, Failure> {
        let answer = self.exchange("get=1\n\n")?;
        parse(&answer).map_err(Failure::Refused)
    }

    /// Reads what it has dropped. Another implementation than ours has no word for it and refuses.
    pub(crate) fn drops(mut self) -> Result<BTreeMap<String, u64>, Failure> {
        Ok(parse_drops(&self.exchange("shoal_counters=1\n\n")?))
    }

    /// Sets its own key and port, and leaves the other ends alone.
    pub(crate) fn set_own(self, secret: &WireGuardSecret, port: u16) -> Result<(), Failure> {
        self.set(&format!("private_key={}\nlisten_port={port}\n", hex(secret.reveal())))
    }

    /// Says how large a packet inside the tunnel may be, VXLAN's headers included, bytes. The protocol has no word for
    /// it; this one is Shoal's own.
    pub(crate) fn set_mtu(self, mtu: u16) -> Result<(), Failure> {
        self.set(&format!("shoal_mtu={mtu}\n"))
    }

    /// Takes steps in order.
    pub(crate) fn take(self, steps: &[Step]) -> Result<(), Failure> {
        let mut lines = String::new();
        for step in steps {
            write_step(&mut lines, step);
        }
        self.set(&lines)
    }

    fn set(mut self, lines: &str) -> Result<(), Failure> {
        let answer = self.exchange(&format!("set=1\n{lines}\n"))?;
        parse(&answer).map(drop).map_err(Failure::Refused)
    }

    /// Sends a request and reads until the empty line that ends an answer.
    fn exchange(&mut self, request: &str) -> Result<Vec<u8>, Failure> {
        let timer = Timer::start();
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Failure::NoAnswer,
            _ => Failure::Refused(format!("its control socket: {error}")),
        };
        self.stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        self.stream.write_all(request.as_bytes()).map_err(failed)?;
        let (mut answer, mut part) = (Vec::new(), [0; 16 << 10]);
        loop {
            let left = timer.left_of(PATIENCE);
            if left.is_zero() {
                return Err(Failure::NoAnswer);
            }
            self.stream.set_read_timeout(Some(left)).map_err(failed)?;
            let count = self.stream.read(&mut part).map_err(failed)?;
            answer.extend_from_slice(part.get(..count).unwrap_or_default());
            if count == 0 || answer.ends_with(b"\n\n") {
                return Ok(answer);
            }
            if answer.len() > ANSWER_MAX {
                return Err(Failure::Refused("its answer has no end".into()));
            }
        }
    }
}

fn write_step(request: &mut String, step: &Step) {
    // Writing to a string cannot fail.
    let _ = match step {
        Step::Remove(key) => write!(request, "public_key={}\nremove=true\n", hex(key.bytes())),
        Step::Set { key, preshared, endpoint, keepalive, allowed } => {
            let _ = writeln!(request, "public_key={}", hex(key.bytes()));
            if let Some(preshared) = preshared {
                let _ = writeln!(request, "preshared_key={}", hex(preshared.reveal()));
            }
            if let Some(endpoint) = endpoint {
                let _ = writeln!(request, "endpoint={endpoint}");
            }
            if let Some(seconds) = keepalive {
                let _ = writeln!(request, "persistent_keepalive_interval={seconds}");
            }
            allowed
                .iter()
                .try_for_each(|(address, length)| writeln!(request, "allowed_ip={address}/{length}"))
        }
    };
}

/// Reads an answer to `get=1` or `set=1`. Keys that are not known are passed over, as the protocol wants.
///
/// # Errors
/// What is not of this protocol, or the number with which the process refused.
pub fn parse(answer: &[u8]) -> Result<Settings, String> {
    let text = str::from_utf8(answer).map_err(|_| "its answer is not text".to_owned())?;
    let body = text.strip_suffix("\n\n").ok_or("its answer is cut off")?;
    let (mut settings, mut peer, mut has_ended) = (Settings::default(), None, false);
    for line in body.lines() {
        let (key, value) = line.split_once('=').ok_or("its answer has a line without \"=\"")?;
        match key {
            _ if has_ended => return Err("its answer goes on after its end".into()),
            "errno" if value == "0" => has_ended = true,
            "errno" => return Err(format!("its process refuses: error {}", number::<i32>(value)?)),
            "private_key" => settings.secret = secret(bytes(value)?),
            "listen_port" => settings.port = number(value)?,
            "public_key" => {
                let key = WireGuardKey::new(bytes(value)?);
                settings.peers.insert(key, PeerSettings::default());
                peer = Some(key);
            }
            _ => {
                if let Some(peer) = peer.as_ref().and_then(|peer| settings.peers.get_mut(peer)) {
                    read_of_peer(peer, key, value)?;
                }
            }
        }
    }
    if has_ended { Ok(settings) } else { Err("its answer says nothing of success".into()) }
}

/// Reads what was dropped, by reason, from an answer to `shoal_counters=1`: lines `drop_REASON=NUMBER` among others. At
/// most 64 reasons, each of lower-case letters and underscores; none that was counted as zero.
pub fn parse_drops(answer: &[u8]) -> BTreeMap<String, u64> {
    let is_reason =
        |text: &str| text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let drop = |line: &[u8]| {
        let (reason, number) = std::str::from_utf8(line).ok()?.strip_prefix("drop_")?.split_once('=')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        is_reason(reason).then(|| (reason.to_owned(), number))
    };
    answer.split(|byte| *byte == b'\n').filter_map(drop).take(64).collect()
}

fn read_of_peer(peer: &mut PeerSettings, key: &str, value: &str) -> Result<(), String> {
    match key {
        "preshared_key" => peer.preshared = secret(bytes(value)?),
        "endpoint" => peer.endpoint = Some(number(value)?),
        "persistent_keepalive_interval" => {
            peer.keepalive = Some(number(value)?).filter(|seconds| *seconds > 0);
        }
        "allowed_ip" => {
            let (address, length) = value.split_once('/').ok_or_else(|| wrong(value))?;
            let (address, length): (IpAddr, u8) = (number(address)?, number(length)?);
            peer.allowed.push((address, length));
        }
        "rx_bytes" => peer.received_bytes = number(value)?,
        "tx_bytes" => peer.sent_bytes = number(value)?,
        "last_handshake_time_sec" => {
            peer.last_handshake = Duration::from_secs(number(value)?)
                .saturating_add(Duration::from_nanos(peer.last_handshake.subsec_nanos().into()));
        }
        "last_handshake_time_nsec" => {
            let nanos: u32 = number(value)?;
            peer.last_handshake = Duration::from_secs(peer.last_handshake.as_secs())
                .saturating_add(Duration::from_nanos(nanos.into()));
        }
        _ => {}
    }
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| wrong(value))
}

fn wrong(value: &str) -> String {
    format!("its answer has a value that is none: {value:?}")
}

/// 32 bytes of hexadecimal digits. What is wrong is not shown: it may be most of a secret.
fn bytes(text: &str) -> Result<[u8; 32], String> {
    unhex(text).ok_or_else(|| "its answer has a key that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_by_reason_and_other_lines_are_left() {
        let answer =
            b"frames_out=7\ndrop_too_big=0\ndrop_handshake_mac=3\ndrop_Odd=1\ndrop_no_number=x\nerrno=0\n\n";
        assert_eq!(parse_drops(answer), BTreeMap::from([("handshake_mac".to_owned(), 3)]));
        assert!(parse_drops(b"errno=22\n\n").is_empty());
        assert!(parse_drops(b"drop_\xff=1").is_empty());
    }
}
