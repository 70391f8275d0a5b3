//! The agent: everything that touches the machine, around one owner of all decisions.
//!
//! ```text
//!   plugin socket ── doors ──┐                        ┌── disk       a thread: one batch after the other
//!   admin socket ─── doors ──┤    Input    ┌───────┐  ├── kernel     three threads: changes, observations, counters
//!   engine ───────── watch ──┼────────────>│ Agent │──┼── engine     task: one request at a time
//!   transport ──────events───┤  one loop   └───────┘  ├── transport  QUIC
//!   kernel ─────── outcomes ─┤   Fabric inside        └── replies    to the doors
//!   clock ─────── timeouts ──┘
//! ```
//!
//! The loop owns the [`Fabric`](shoal_fabric::Fabric); nothing else decides. It waits for nothing: what must not be
//! done or told before something is on disk or in the kernel is kept until disk or kernel have told, which is an input
//! like any other.

mod activation;
mod addresses;
mod answers;
mod audit;
mod commands;
mod disk;
mod doctor;
mod doors;
mod engine;
mod kernel;
mod knock;
mod layout;
mod machine;
mod owner;
mod perform;
mod probe;
mod projection;
mod ready;
mod secrets;
mod strangers;
mod verbs;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use shoal_api::{Answer, Command, Failure, Join};
use shoal_containers::Docker;
use shoal_dataplane::{Features, HostKernel, Options};
use shoal_fabric::{At, Fabric, LocalHost, LocalTunnels};
use shoal_links::{Survey, TunnelOptions, Tunnels};
use shoal_networks::{EngineReport, Refusal, Reply, Verb};
use shoal_plan::{Backend, Observed};
use shoal_ports::{Clock, Counters, KernelError, Store, StoreError, SystemClock};
use shoal_store::RedbStore;
use shoal_transport::{Config, Joined, Limits, Transport};
use shoal_tunnels::Making;
use shoal_types::HostId;
use tokio::sync::{mpsc, oneshot};

use shoal_config::{Feature, Settings};

/// Inputs that may wait before their senders are held back.
const INPUTS_MAX: usize = 1024;

/// Something for the owner to decide.
pub(crate) enum Input {
    /// A call of dockerd.
    Verb(Verb, oneshot::Sender<Result<Reply, Refusal>>),
    /// A command of the operator.
    Command(Command, oneshot::Sender<Result<Answer, Failure>>),
    /// An answer of the container engine.
    Engine(EngineReport),
    /// The engine answers, with its version, or no longer.
    EngineState(Option<String>),
    /// The engine's networks that are not ours.
    Foreign(engine::ForeignNetworks),
    /// Stopped containers that cannot start, because a network of ours was made again since.
    Stranded(Vec<shoal_containers::Stranded>),
    /// A host of a fabric is to be asked to let us in; by which of our addresses it is reached.
    Joining(Join, Option<IpAddr>, oneshot::Sender<Result<Answer, Failure>>),
    /// Another host let us in, or not.
    Joined(Box<Result<Joined, Failure>>, oneshot::Sender<Result<Answer, Failure>>),
    /// Which addresses and routes the machine has.
    Surveyed(Box<Survey>),
    /// What a probe of the path to a host found.
    Probed(HostId, probe::Path),
    /// A batch of changes was applied, but for these.
    Applied(u64, kernel::Refused),
    /// A batch is on the disk, or refused.
    Written(u64, Result<(), StoreError>),
    /// How the tunnels do.
    Counted(Result<Counters, KernelError>),
    /// What the kernel holds.
    Observed(projection::Look, Result<Observed, KernelError>),
    /// What was seen of the kernel for a command of the operator.
    Shown(Command, Box<commands::Seen>, oneshot::Sender<Result<Answer, Failure>>),
    /// The data plane could not be opened.
    NoKernel(KernelError),
}

/// Runs the agent until it is told to end.
pub(crate) fn run(settings: Settings) -> anyhow::Result<()> {
    let handed = activation::Handed::take();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(start(settings, handed))
}

async fn start(settings: Settings, handed: activation::Handed) -> anyhow::Result<()> {
    prepare_folders(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let at = At { now: clock.now(), wall: clock.wall() };
    let mut store = RedbStore::open(settings.state_dir.join("state.redb"))?;
    layout::check(&mut store, &settings.state_dir)?;
    let key = Arc::new(secrets::host_key(&mut store)?);
    let stored = store.scan(b"")?;

    let local = local_host(&settings, &stored).await?;
    let seed = secrets::random_seed();
    let (fabric, effects) =
        Fabric::open(Arc::clone(&key), local, &stored, seed, at).map_err(anyhow::Error::msg)?;

    let listen = ([0u16; 8], settings.quic_port).into();
    let config = Config { listen, key, limits: Limits::default() };
    let (transport, transport_events) = Transport::start(config, Arc::clone(&clock))?;
    let relay = transport.open_relay(settings.relay_port).map_err(|error| error.to_string());
    let (inputs, inbox) = mpsc::channel(INPUTS_MAX);
    let kernel = open_kernel(&settings, inputs.clone())?;
    let disk = disk::Disk::start(store.clone(), inputs.clone())?;
    let engine = Arc::new(Docker::at(settings.docker_socket.display().to_string()));
    let (requests, work) = mpsc::unbounded_channel();
    tokio::spawn(engine::work(engine.clone(), work, inputs.clone()));
    tokio::spawn(engine::watch(engine, inputs.clone()));
    let doors = doors::open(&settings, handed, &inputs)?;

    let parts = owner::Parts { settings, clock, store, disk, transport, kernel, engine: requests, inputs };
    let mut agent = owner::Agent::new(fabric, parts);
    if let Err(sentence) = relay {
        agent.notice(format!(
            "packets between hosts that cannot reach each other are not relayed here: {sentence}"
        ));
    }
    let outcome = agent.run(effects, inbox, transport_events).await;
    doors.shut().await;
    outcome
}

fn prepare_folders(settings: &Settings) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let make = |path: &Path, mode: u32| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        made.with_context(|| format!("cannot make folder {}", path.display()))
    };
    make(&settings.state_dir, 0o700)?;
    for socket in [&settings.socket, &settings.plugin_socket] {
        if let Some(folder) = socket.parent() {
            make(folder, 0o755)?;
        }
    }
    Ok(())
}

async fn local_host(settings: &Settings, stored: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<LocalHost> {
    let survey = shoal_links::survey().await.map_err(anyhow::Error::msg)?;
    let advertise = commands::stored_advertise(stored, &survey).unwrap_or_else(|| settings.advertise.clone());
    let underlay = machine::underlay(&survey, &advertise).limited(settings.mtu);
    let name = commands::stored_name(stored).or_else(|| settings.name.clone());
    Ok(LocalHost {
        name: name.unwrap_or_else(machine::host_name),
        addresses: underlay.addresses,
        quic_port: settings.quic_port,
        tunnels: local_tunnels(settings),
        underlay_mtu: underlay.mtu,
        lease: settings.lease,
        version: env!("CARGO_PKG_VERSION").into(),
        probe_link: probe::link_names(),
    })
}

/// How this host makes tunnel devices: the kernel encrypts where it can.
fn local_tunnels(settings: &Settings) -> LocalTunnels {
    let in_kernel = !settings.features_off.contains(&Feature::WireGuard) && Tunnels::kernel_has_wireguard();
    let (backend, software) = match in_kernel {
        true => (Backend::Kernel, None),
        false => (Backend::UserSpace, Some(env!("CARGO_PKG_VERSION").to_owned())),
    };
    LocalTunnels {
        prefix: settings.tunnel_device.clone(),
        vxlan_port: settings.vxlan_port,
        making: Making { backend, port: settings.wireguard_port, software },
        key_lifetime: settings.key_lifetime,
        relay_port: settings.relay_port,
    }
}

/// Has the data plane opened; dockerd is answered meanwhile.
fn open_kernel(settings: &Settings, inputs: mpsc::Sender<Input>) -> anyhow::Result<kernel::KernelThreads> {
    let off: BTreeSet<Feature> = settings.features_off.iter().copied().collect();
    let pin_dir = settings.pin_dir.clone();
    let run_dir = settings.socket.parent().map(Path::to_path_buf).unwrap_or_default();
    // The program that runs now, whatever the file of its name holds by the time an engine is started.
    let engine = vec!["/proc/self/exe".into(), "wireguard".into()];
    let tunnels = TunnelOptions { run_dir, engine };
    let open = move || {
        let mut features = Features::probe();
        features.redirect_peer &= !off.contains(&Feature::RedirectPeer);
        features.map_batch &= !off.contains(&Feature::MapBatch);
        HostKernel::open(&Options { pin_dir, features, tunnels })
    };
    let (threads, outcome) = kernel::KernelThreads::start(open)?;
    tokio::spawn(async move {
        if let Ok(Err(error)) = outcome.await {
            let _ = inputs.send(Input::NoKernel(error)).await;
        }
    });
    Ok(threads)
}
