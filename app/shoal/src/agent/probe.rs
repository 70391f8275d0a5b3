//! Probes of the paths to other hosts, through the tunnel.
//!
//! The agent is an endpoint of its own in the network of probes ([`Vni::PROBE`](shoal_types::Vni::PROBE)): a link
//! like a container's, whose inner end lies in a namespace of the agent's. Its packets take the way of every
//! container's packet, so what they find holds for containers. What to send and what answers mean is decided by
//! [`shoal_paths`].

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shoal_api::Reach;
use shoal_fabric::HostSummary;
use shoal_kit::{FNV1A, fnv1a};
use shoal_links::Namespace;
use shoal_paths::{Bulk, Effect, Paths};
use shoal_planner::{ProbeView, View, mtu_default};
use shoal_ports::{Clock, KernelError};
use shoal_types::{HostId, LinkName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};

use super::Input;

/// UDP and TCP port of probes, inside the network of probes.
const PORT: u16 = 7374;

/// Length of the prefix that all probe addresses share.
const PREFIX_LEN: u8 = 64;

/// Headers in front of a probe's payload: IPv6 and UDP.
const HEADERS: u16 = 48;

/// First byte of a probe and of its answer; eight bytes of nonce follow, then padding.
const QUESTION: u8 = b'q';
const ANSWER: u8 = b'a';

/// Bytes of a bulk transfer: some hundred full packets, many of them in one go.
const BULK_BYTES: usize = 256 * 1024;

/// How long a bulk transfer may take.
const BULK_WITHIN: Duration = Duration::from_secs(5);

/// Bulk transfers from other hosts at once.
const BULK_AT_ONCE: usize = 8;

pub(crate) use shoal_paths::Path;

/// The same for the operator.
pub(crate) fn reach(path: &Path, host: &HostSummary, port: u16) -> Reach {
    let address = host.fact.addresses.first().map(ToString::to_string).unwrap_or_default();
    match path {
        Path { tried: false, .. } => Reach::Unknown,
        Path { mtu: None, .. } => Reach::Unreachable {
            why: format!("no packet comes back through the tunnel from {address}, UDP port {port}"),
        },
        Path { bulk: Bulk::Broken, .. } => Reach::Unreachable {
            why: format!(
                "single packets pass through the tunnel to {address}, UDP port {port}, but a stream of full ones does not \
                 arrive whole: switch off what the network card does wrong with `ethtool -K DEVICE tx-checksum-ip-generic off`"
            ),
        },
        Path { .. } => Reach::Ok,
    }
}

/// The probe link's names: the end with the program, the agent's end.
pub(crate) fn link_names() -> Option<(LinkName, LinkName)> {
    Some(("sh-probe".parse().ok()?, "sc-probe".parse().ok()?))
}

/// Who is to be probed.
type Targets = BTreeMap<HostId, (Ipv6Addr, u16)>;

/// Sends probes, on a task of its own.
pub(crate) struct Prober {
    namespace: PathBuf,
    clock: Arc<dyn Clock>,
    inputs: mpsc::Sender<Input>,
    targets: Option<watch::Sender<Targets>>,
}

impl Prober {
    /// `namespace`: where the namespace of the agent's end is kept.
    pub(crate) fn new(namespace: PathBuf, clock: Arc<dyn Clock>, inputs: mpsc::Sender<Input>) -> Self {
        Self { namespace, clock, inputs, targets: None }
    }

    /// Whether a view names other hosts than those that are probed.
    pub(crate) fn is_behind(&self, view: &View) -> bool {
        let wanted = view.probe.as_ref().map(|probe| targets(view, probe)).unwrap_or_default();
        self.targets.as_ref().map_or(!wanted.is_empty(), |known| *known.borrow() != wanted)
    }

    /// Probes the hosts of a view from now on; `linked` tells whether the probe link stands.
    pub(crate) fn follow(&mut self, view: &View, linked: bool) -> Result<(), KernelError> {
        let Some(probe) = view.probe.as_ref().filter(|_| linked) else {
            if let Some(known) = &self.targets {
                known.send_replace(Targets::new());
            }
            return Ok(());
        };
        let Some(IpAddr::V6(mine)) = probe.addresses.get(&view.me).copied() else { return Ok(()) };
        let namespace = Namespace::open_or_make(&self.namespace)?;
        namespace.take_in(&probe.inner_name, mine.into(), PREFIX_LEN)?;
        let targets = targets(view, probe);
        match &self.targets {
            Some(known) if !known.is_closed() => drop(known.send_if_modified(|known| {
                let changed = *known != targets;
                *known = targets;
                changed
            })),
            _ => {
                let (sender, receiver) = watch::channel(targets);
                let sockets = Sockets::open(&namespace)?;
                let task = Task {
                    namespace: Arc::new(namespace),
                    clock: Arc::clone(&self.clock),
                    inputs: self.inputs.clone(),
                };
                tokio::spawn(task.run(sockets, receiver));
                self.targets = Some(sender);
            }
        }
        Ok(())
    }
}

fn targets(view: &View, probe: &ProbeView) -> Targets {
    let target = |(host, address): (&HostId, &IpAddr)| {
        let other = view.hosts.get(host).filter(|_| *host != view.me)?;
        let IpAddr::V6(address) = address else { return None };
        Some((*host, (*address, mtu_default(other.underlay_mtu).min(probe.mtu))))
    };
    probe.addresses.iter().filter_map(target).collect()
}

/// Sockets inside the namespace, wherever they are used.
struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    fn open(namespace: &Namespace) -> Result<Self, KernelError> {
        let failed = |error: std::io::Error| KernelError {
            action: "open".into(),
            object: format!("probe port {PORT}"),
            reason: error.to_string(),
        };
        namespace.run(|| {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
            let sockets = Self {
                udp: UdpSocket::bind(any).map_err(failed)?,
                tcp: TcpListener::bind(any).map_err(failed)?,
            };
            sockets.udp.set_nonblocking(true).map_err(failed)?;
            sockets.tcp.set_nonblocking(true).map_err(failed)?;
            Ok(sockets)
        })
    }
}

struct Task {
    namespace: Arc<Namespace>,
    clock: Arc<dyn Clock>,
    inputs: mpsc::Sender<Input>,
}

impl Task {
    async fn run(self, sockets: Sockets, mut targets: watch::Receiver<Targets>) {
        let Ok(udp) = tokio::net::UdpSocket::from_std(sockets.udp) else { return };
        let Ok(tcp) = tokio::net::TcpListener::from_std(sockets.tcp) else { return };
        tokio::spawn(answer_transfers(tcp));
        let namespace = Arc::clone(&self.namespace);
        let (transfers, mut outcomes) = mpsc::unbounded_channel();
        let mut paths = Paths::new(super::secrets::random_seed());
        let mut hosts = Targets::new();
        let mut packet = [0; 64];
        targets.mark_changed();
        loop {
            let now = self.clock.now();
            let wait = paths.next_timeout().map_or(Duration::from_secs(60), |due| due.since(now));
            let effects = tokio::select! {
                changed = targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    hosts.clone_from(&targets.borrow_and_update());
                    paths.set_hosts(&hosts.iter().map(|(host, (_, full))| (*host, *full)).collect(), self.clock.now());
                    Vec::new()
                }
                received = udp.recv_from(&mut packet) => match received {
                    Ok((length, from)) => self.heard(&udp, &mut paths, &hosts, &packet[..length], from).await,
                    Err(_) => Vec::new(),
                },
                Some((host, outcome)) = outcomes.recv() => paths.bulk(host, outcome),
                () = tokio::time::sleep(wait) => paths.tick(self.clock.now()),
            };
            for effect in effects {
                match effect {
                    Effect::Probe { host, nonce, bytes } => {
                        if let Some((address, _)) = hosts.get(&host) {
                            // A probe that cannot be sent is a probe that is lost.
                            let _ = udp.send_to(&question(nonce, bytes), (*address, PORT)).await;
                        }
                    }
                    Effect::Transfer(host) => {
                        if let Some((address, _)) = hosts.get(&host).copied() {
                            let (namespace, transfers) = (Arc::clone(&namespace), transfers.clone());
                            tokio::task::spawn_blocking(move || {
                                let outcome = transfer(&namespace, address);
                                let _ = transfers.send((host, outcome));
                            });
                        }
                    }
                    Effect::Found(host, path) => {
                        if self.inputs.send(Input::Probed(host, path)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// A packet from another host's agent: the programs have checked that its source is the sender's.
    async fn heard(
        &self,
        udp: &tokio::net::UdpSocket,
        paths: &mut Paths,
        hosts: &Targets,
        packet: &[u8],
        from: SocketAddr,
    ) -> Vec<Effect> {
        let Some(nonce) = packet.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
        else {
            return Vec::new();
        };
        match packet[0] {
            QUESTION => {
                let mut answer = question(nonce, 0);
                answer[0] = ANSWER;
                let _ = udp.send_to(&answer, from).await;
                Vec::new()
            }
            ANSWER => {
                let sender = hosts.iter().find(|(_, (address, _))| IpAddr::V6(*address) == from.ip());
                sender.map(|(host, _)| paths.answered(*host, nonce, self.clock.now())).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// A probe that makes an IP packet of `bytes` bytes, or the shortest there is.
fn question(nonce: u64, bytes: u16) -> Vec<u8> {
    let mut payload = vec![QUESTION];
    payload.extend_from_slice(&nonce.to_be_bytes());
    payload.resize(payload.len().max(usize::from(bytes.saturating_sub(HEADERS))), 0);
    payload
}

/// Sends a bulk and compares what the other side says it received.
fn transfer(namespace: &Namespace, to: Ipv6Addr) -> Bulk {
    let data: Vec<u8> = (0..BULK_BYTES).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
    let failed = |error: std::io::Error| KernelError {
        action: "transfer to".into(),
        object: to.to_string(),
        reason: error.to_string(),
    };
    let received = namespace.run(|| {
        let mut stream = TcpStream::connect_timeout(&(to, PORT).into(), BULK_WITHIN).map_err(failed)?;
        stream.set_read_timeout(Some(BULK_WITHIN)).map_err(failed)?;
        stream.set_write_timeout(Some(BULK_WITHIN)).map_err(failed)?;
        stream.write_all(&data).map_err(failed)?;
        stream.shutdown(std::net::Shutdown::Write).map_err(failed)?;
        let mut sum = [0; 8];
        stream.read_exact(&mut sum).map_err(failed)?;
        Ok(u64::from_be_bytes(sum))
    });
    match received {
        Ok(sum) if sum == fnv1a(FNV1A, &data) => Bulk::Intact,
        Ok(_) => Bulk::Broken,
        Err(error) => {
            tracing::debug!(%error, "a bulk probe did not arrive whole");
            Bulk::Broken
        }
    }
}

/// Takes bulks from other hosts and tells what arrived.
async fn answer_transfers(listener: tokio::net::TcpListener) {
    let room = Arc::new(Semaphore::new(BULK_AT_ONCE));
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        tokio::spawn(async move {
            let taken = async {
                let (mut sum, mut left, mut buffer) = (FNV1A, BULK_BYTES, vec![0; 16 * 1024]);
                while left > 0 {
                    let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
                    sum = fnv1a(sum, &buffer[..length]);
                    left = left.saturating_sub(length);
                }
                stream.write_all(&sum.to_be_bytes()).await.ok()
            };
            let _ = tokio::time::timeout(BULK_WITHIN, taken).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_makes_a_packet_of_the_size_asked_for() {
        assert_eq!(question(1, 1370).len() + usize::from(HEADERS), 1370);
        assert_eq!(question(1, 0).len(), 9);
    }
}
