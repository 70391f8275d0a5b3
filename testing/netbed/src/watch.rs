//! The underlay watched: every frame that a host sends is held against what may be seen there.
//!
//! ```text
//!   h1 eth0 ── p1 ┐                                   allowed: WireGuard, QUIC, ARP, neighbour discovery, group
//!   h2 eth0 ── p2 ┼─ what enters the switch ──> judge          membership, "unreachable" that quotes such a packet,
//!   x1 eth0 ── p3 ┘                                            and what the scenario has declared ([`Allow`])
//! ```
//!
//! A packet socket in the switch's namespace takes frames in full as they enter the switch's ports, also those that a
//! cut port drops, from before the first host is linked until after the last process is dead. Containers' payloads
//! carry a marker ([`MARKER`]), which is looked for in all of each frame. Frames that the socket could not take are
//! counted, and with one of them the claim that nothing else was there cannot be made.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, getsockopt, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use shoal_types::hex;

pub use frame::Allow;
use frame::{Kind, judge};
pub use marker::{MARKER, marker_hex};

mod frame;
mod marker;

/// Room for frames that wait to be judged, bytes: more than a second of what two processors can send.
const BUFFER: usize = 512 << 20;

/// The largest frame: an IPv6 packet that is yet to be segmented, its header and Ethernet's.
const FRAME_MAX: usize = 14 + 40 + 65_535;

/// Violations that are kept in full; the others are counted.
const KEPT: usize = 12;

/// How much of a frame a message shows, bytes.
const SHOWN: usize = 112;

/// Options of packet sockets that have no safe wrapper (`linux/if_packet.h`, packet(7)).
#[allow(unsafe_code, reason = "the macro's own: it reads and writes what the kernel defines")]
mod option {
    use nix::libc;
    use nix::sys::socket::sockopt::{GetStruct, SetBool};

    /// Frames received, and dropped for want of room, since the last look.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Statistics;
    nix::getsockopt_impl!(
        Statistics,
        libc::SOL_PACKET,
        libc::PACKET_STATISTICS,
        libc::tpacket_stats,
        GetStruct<libc::tpacket_stats>
    );

    /// Leaves out what the namespace itself sends.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct IgnoreOutgoing;
    nix::setsockopt_impl!(IgnoreOutgoing, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, bool, SetBool);
}

/// What has been seen on the underlay so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Frames by what they are: "WireGuard", "QUIC", "ARP" and so on.
    pub frames: BTreeMap<&'static str, u64>,
    /// Per [`Allow`] that was declared, in order: frames, and those of them that carry the marker.
    pub allowed: Vec<(Allow, u64, u64)>,
    /// Frames that nothing allows.
    pub violations: u64,
    /// The first of them: what is wrong, where it came in, its head.
    pub first: Vec<String>,
    /// Frames that were there and not judged.
    pub missed: u64,
}

impl Seen {
    /// An error if anything was there that must not be, or may have been.
    pub fn clean(&self) -> Result<()> {
        ensure!(
            self.violations == 0,
            "{} frames on the underlay that must not be there; the first:\n{}",
            self.violations,
            self.first.join("\n")
        );
        ensure!(
            self.missed == 0,
            "{} frames were not judged, so nothing can be said of the underlay",
            self.missed
        );
        Ok(())
    }

    /// Frames that one declaration has let through, and those of them that carry the marker.
    pub fn of(&self, allow: &Allow) -> (u64, u64) {
        self.allowed
            .iter()
            .find(|(it, ..)| it == allow)
            .map_or((0, 0), |(_, frames, marked)| (*frames, *marked))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames: Vec<_> = self.frames.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let allowed: Vec<_> = self
            .allowed
            .iter()
            .map(|(allow, frames, marked)| format!("{allow:?} {frames} ({marked} with the marker)"))
            .collect();
        write!(
            f,
            "underlay: {}; declared: [{}]; violations {}; not judged {}",
            frames.join(", "),
            allowed.join(", "),
            self.violations,
            self.missed
        )
    }
}

/// A watcher at work.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watch {
    /// Begins, in the network namespace of a process, where `bridge` has what enters by its ports.
    pub(crate) fn start(pid: u32, bridge: &str) -> Result<Self> {
        let (seen, over) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (socket, bridge) = open(pid, bridge)?;
        let (into, until) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = std::thread::spawn(move || look(&socket, bridge, &into, &until));
        Ok(Self { seen, over, thread: Some(thread) })
    }

    /// Lets through what would be a violation, from now on.
    pub(crate) fn allow(&self, allow: Allow) {
        let mut seen = lock(&self.seen);
        if !seen.allowed.iter().any(|(it, ..)| *it == allow) {
            seen.allowed.push((allow, 0, 0));
        }
    }

    /// What has been judged so far.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Judges what is still waiting, and ends.
    pub(crate) fn finish(&mut self) -> Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().context("the watcher has ended already")?.join();
        ended.map_err(|_| anyhow::anyhow!("the watcher's thread panicked"))??;
        Ok(self.seen())
    }
}

/// A packet socket in another namespace, and the bridge's index there. The thread that entered it ends at once.
fn open(pid: u32, bridge: &str) -> Result<(OwnedFd, usize)> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    let bridge = bridge.to_owned();
    let opened = std::thread::spawn(move || -> Result<_> {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        setsockopt(&socket, option::IgnoreOutgoing, &true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100))?;
        Ok((socket, if_nametoindex(bridge.as_str())? as usize))
    });
    opened.join().map_err(|_| anyhow::anyhow!("the watcher's thread panicked"))?
}

fn look(socket: &OwnedFd, bridge: usize, seen: &Mutex<Seen>, over: &AtomicBool) -> Result<()> {
    let mut frame = vec![0; FRAME_MAX];
    loop {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) {
            // What is for the bridge itself is seen a second time there.
            Ok((_, Some(from))) if from.ifindex() == bridge => {}
            Ok((length, from)) => {
                let from = from.map_or(0, |from| from.ifindex());
                note(&mut lock(seen), &frame[..length.min(FRAME_MAX)], from);
            }
            Err(Errno::EAGAIN) if over.load(Ordering::Relaxed) => break,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("the underlay cannot be watched"),
        }
    }
    let statistics = getsockopt(socket, option::Statistics)?;
    lock(seen).missed = statistics.tp_drops.into();
    Ok(())
}

fn note(seen: &mut Seen, frame: &[u8], from: usize) {
    let kind = judge(frame, seen.allowed.iter().map(|(allow, ..)| allow));
    let marked = marker::is_in(frame);
    let wrong = match kind {
        Kind::Declared(at) => {
            let (allow, frames, with_marker) = &mut seen.allowed[at];
            *frames += 1;
            *with_marker += u64::from(marked);
            (marked && !allow.may_be_marked()).then_some("a container's payload where none was declared")
        }
        Kind::Known(what) => {
            *seen.frames.entry(what).or_default() += 1;
            marked.then_some("a container's payload can be read")
        }
        Kind::Unknown(why) => Some(why),
    };
    if let Some(wrong) = wrong {
        seen.violations += 1;
        if seen.first.len() < KEPT {
            let shown = hex(&frame[..frame.len().min(SHOWN)]);
            seen.first.push(format!("{wrong} (link {from}, {} bytes): {shown}", frame.len()));
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
