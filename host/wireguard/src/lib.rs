//! WireGuard and VXLAN in user space, for kernels without WireGuard.
//!
//! ```text
//!             eBPF programs                                                     the underlay
//!                  |  ^                                                             |  ^
//!   frame with     |  |   frame with                                    datagrams   |  |
//!   addresses in   v  |   addresses in                                  of others   v  |
//!   its MACs     TAP device                                                      UDP sockets
//!                  |  ^                                                             |  ^
//!                  |  +----- coalesce <- unwrap <- peer.open  <- receive <----------+  |
//!                  +-------> segment  -> wrap   -> peer.seal  -> outbox  --------------+
//! ```
//!
//! The engine is a process of its own ([`run`]). It takes Ethernet frames from a TAP device in the host's namespace,
//! which reach it as super-packets of up to 64 KiB, and does both VXLAN (RFC 7348) and WireGuard, so that no IP stack
//! sees the packets in between. The programs hand it the outer addresses in the frame's hardware addresses: destination
//! 02:00 and the other end's tunnel address, source 02:00:00 and the VNI. On the way in it writes the sender's tunnel
//! address there. On the wire it speaks what a kernel with WireGuard and a VXLAN device on top speaks.
//!
//! Each worker has one queue of the device and one socket, and a thread for each direction; a packet is never handed
//! from thread to thread. All segments of a flow pass through one queue and one socket, so a flow is not reordered.
//!
//! The session and handshake state machine is boringtun's. All else that looks into packets ([`segment`], [`unwrap`],
//! [`coalesce`], [`uapi`], the table of peers) is pure; `tap`, `socket`, `receive` and the control socket
//! touch the machine.

mod client;
pub mod coalesce;
mod control;
pub mod counters;
mod engine;
mod identity;
mod inbound;
mod outbound;
pub mod outbox;
mod peer;
mod receive;
pub mod segment;
mod socket;
mod table;
mod tap;
pub mod uapi;
pub mod unwrap;
pub mod wire;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use shoal_ports::SystemClock;
use shoal_types::{WireGuardKey, WireGuardSecret};

pub use crate::client::ask;
use crate::control::Control;
use crate::engine::{Engine, Role};
use crate::peer::TICK;

/// Workers beyond this bring nothing: one is enough for the line rate of most hosts.
const WORKERS_MAX: usize = 16;

/// Priority of the threads that carry packets, as of `nice`. On a busy machine a thread of ordinary priority waits for
/// a time slice of others with each packet: 1 in 100 then takes a millisecond and more in place of 50 us.
const NICE: i32 = -10;

/// How an engine is started. Its keys, its port and its peers come over the control socket.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the TAP device. It is made if it is not there, and stays when the engine ends.
    pub device: String,
    /// Path of the control socket; a file with ".lock" at the end of its name stands beside it.
    pub control: PathBuf,
    /// This host's address in the tunnel.
    pub address: Ipv4Addr,
    /// Largest packet in the tunnel, VXLAN's headers included, bytes; `shoal_mtu` changes it later.
    pub mtu: u16,
    /// Queues and sockets; `None` for half as many as there are processors, at most 16.
    pub workers: Option<usize>,
}

/// Why an engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another one serves this control socket.
    #[error("an engine already serves {path}: end it first, or give this one another path", path = path.display())]
    AlreadyRunning {
        /// The socket's path.
        path: PathBuf,
    },
    /// The control socket cannot be opened.
    #[error("cannot open the control socket {path}: {error}", path = path.display())]
    Control {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
    /// The device cannot be opened.
    #[error("cannot open the TAP device {device}: {error}; is the module tun there, and is this root?")]
    Device {
        /// The device's name.
        device: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// The device was taken away.
    #[error("the TAP device {device} is gone: {error}")]
    DeviceGone {
        /// The device's name.
        device: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// A thread cannot be started, or signals not be waited for.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Runs an engine until the process gets SIGTERM or SIGINT, or its device is deleted.
///
/// It is a process of its own: the caller does nothing else, and ends when this returns. Threads still run then.
pub fn run(options: &Options) -> Result<(), Failure> {
    let signals = signals()?;
    if !hurry() {
        tracing::warn!("no leave to raise the priority: packets will wait while processors are busy");
    }
    let workers = options.workers.unwrap_or_else(default_workers).clamp(1, WORKERS_MAX);
    let control = Arc::new(Control::open(&options.control)?);
    let device = |error| Failure::Device { device: options.device.clone(), error };
    let queues = tap::open(&options.device, workers).map_err(device)?;
    let engine = Arc::new(Engine::new(options.address, options.mtu, queues.len(), SystemClock::start()));
    let gone = Arc::new(std::sync::OnceLock::new());
    for (worker, queue) in queues.into_iter().enumerate() {
        carry(&engine, worker, Arc::new(queue), &gone)?;
    }
    let ticking = Arc::clone(&engine);
    start("timers".into(), move || tick(&ticking))?;
    let (serving, answered) = (Arc::clone(&control), Arc::clone(&engine));
    start("control".into(), move || serving.serve(&answered))?;
    tracing::info!(device = options.device, address = %options.address, "the engine runs");
    let signal = signals.wait().map_err(io::Error::from);
    control.close();
    signal?;
    match gone.get() {
        Some(errno) => {
            Err(Failure::DeviceGone { device: options.device.clone(), error: io::Error::from(*errno) })
        }
        None => Ok(()),
    }
}

/// Signals that end the engine; blocked, so that they are waited for and threads inherit that.
fn signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    Ok(signals)
}

/// Raises the priority of this thread and of those that it starts.
#[allow(unsafe_code, reason = "nix has no call for it")]
fn hurry() -> bool {
    // SAFETY: numbers only.
    unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, NICE) == 0 }
}

/// The two threads of a worker.
fn carry(
    engine: &Arc<Engine>,
    worker: usize,
    queue: Arc<tap::Queue>,
    gone: &Arc<std::sync::OnceLock<nix::errno::Errno>>,
) -> io::Result<()> {
    let (sending, outward, gone) = (Arc::clone(engine), Arc::clone(&queue), Arc::clone(gone));
    start(format!("out-{worker}"), move || {
        let errno = outbound::run(&sending, worker, &outward);
        // The first to notice ends the process in order.
        if gone.set(errno).is_ok() {
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGTERM);
        }
    })?;
    let receiving = Arc::clone(engine);
    start(format!("in-{worker}"), move || inbound::run(&receiving, worker, &queue))
}

fn start(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(drop)
}

/// Lets time pass for all peers.
fn tick(engine: &Engine) {
    let counters = engine.counters(Role::Other);
    for ticks in 0u64.. {
        thread::sleep(TICK);
        let table = engine.snapshot().table;
        if ticks % 4 == 0
            && let Some(identity) = &table.identity
        {
            identity.second_passed();
        }
        let peers: Vec<_> = table.peers().into_iter().cloned().collect();
        engine.for_each(&peers, |peer, outbox| peer.lock().tick(outbox, counters));
    }
}

fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get() / 2)
}

/// The public key that belongs to a private one.
pub fn public_key(secret: &WireGuardSecret) -> WireGuardKey {
    let private = boringtun::x25519::StaticSecret::from(*secret.reveal());
    WireGuardKey::new(*boringtun::x25519::PublicKey::from(&private).as_bytes())
}
