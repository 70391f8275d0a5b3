//! How long dockerd's calls take while something is wrong: the plugin socket answers at once in every state.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_conformance::{Dockerd, Engine, Network, Options, Paced, Times, pace, table};
use shoal_netbed::{Bed, Host, eventually, eventually_ok, shoal_binary};
use tokio::runtime::Runtime;

/// No call may take longer. Ten milliseconds are the aim; a loaded machine's disk and scheduler take their share, and
/// what this must tell from them is a wait for a process or a host, which takes seconds.
const LONGEST: Duration = Duration::from_millis(1500);

/// How long a state is measured; `PACE_SECONDS` says otherwise.
fn span() -> Duration {
    Duration::from_secs(setting("PACE_SECONDS", 3))
}

/// The pause between two containers; `PACE_REST_MS` says otherwise.
fn rest() -> Duration {
    Duration::from_millis(setting("PACE_REST_MS", 30))
}

fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A path of the host's as seen from here.
fn seen(host: &Host, path: &str) -> String {
    format!("/proc/{}/root{path}", host.pid())
}

/// dockerd's part on one host.
struct Player {
    runtime: Runtime,
    dockerd: Dockerd,
}

impl Player {
    fn on(host: &Host) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let options = Options::of(seen(host, "/run/docker/plugins/shoal.sock"));
        let socket = seen(host, "/run/docker.sock");
        let dockerd = runtime.block_on(async {
            let engine = Engine::listen(Path::new(&socket))?;
            Dockerd::start(options, Some(engine)).await
        })?;
        Ok(Self { runtime, dockerd })
    }

    fn network(&self) -> Result<Network> {
        self.runtime.block_on(self.dockerd.create_network())
    }

    /// Starts and ends containers while something goes on; tells how long the calls took.
    fn measure(
        &self,
        state: &str,
        network: &Network,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<(Paced, Times)> {
        self.measure_with(state, network, rest(), meanwhile)
    }

    fn measure_with(
        &self,
        state: &str,
        network: &Network,
        rest: Duration,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<(Paced, Times)> {
        self.dockerd.driver().take_times();
        let paced = std::thread::scope(|scope| {
            let pacing = scope.spawn(|| self.runtime.block_on(pace(&self.dockerd, network, span(), rest)));
            let outcome = meanwhile();
            let paced = pacing.join().map_err(|_| anyhow::anyhow!("the calls panicked"))?;
            outcome.map(|()| paced)
        })?;
        let times = self.dockerd.driver().take_times();
        eprintln!("--- {state}: {paced:?}\n{}", table(times.clone()));
        Ok((paced, times))
    }
}

fn none_took_long(times: &Times) -> Result<()> {
    for (verb, taken) in times {
        let longest = taken.iter().max().copied().unwrap_or_default();
        ensure!(longest < LONGEST, "{verb} took {longest:?}");
    }
    ensure!(!times.is_empty(), "nothing was answered");
    Ok(())
}

#[test]
fn calls_are_answered_at_once_whatever_is_wrong() -> Result<()> {
    let bed = Bed::builder(2).without_dockerd().build()?;
    let host = bed.host(1);
    host.start_agent(&[], &[])?;
    // A bed's hosts keep their state in memory; this one does not, to tell the disk's share.
    let state = bed.host(2).folder().join("state");
    bed.host(2).start_agent(&["--state-dir", &state.display().to_string()], &[])?;
    let player = Player::on(host)?;

    let nowhere = Network {
        id: player.dockerd.draw(),
        pool: "none".into(),
        prefix: "10.9.0.0/24".into(),
        gateway: "10.9.0.1/24".into(),
    };
    let (paced, times) = player.measure("in no fabric", &nowhere, || Ok(()))?;
    ensure!(paced.unanswered == 0 && paced.started == 0, "{paced:?}");
    none_took_long(&times)?;

    host.shoal("init")?;
    let token = host.shoal("token")?;
    let token = token.lines().last().context("no token")?.trim();
    bed.host(2).shoal(&format!("join {} {token}", host.address()))?;
    let network = player.network()?;
    for (state, rest) in [("all well", rest()), ("all well, without a rest", Duration::ZERO)] {
        let (paced, times) = player.measure_with(state, &network, rest, || Ok(()))?;
        ensure!(paced.refused == 0 && paced.started > 0, "{paced:?}");
        none_took_long(&times)?;
    }

    beside_many_others(&bed, &player, &network)?;

    bed.cut(bed.host(2))?;
    let (paced, times) = player.measure("the other host is gone", &network, || Ok(()))?;
    ensure!(paced.refused == 0, "{paced:?}");
    none_took_long(&times)?;
    bed.heal(bed.host(2))?;

    a_stopped_engine(host, &player, &network)?;
    a_full_disk(host, &player, &network)
}

/// The other host has many endpoints, `ENDPOINTS` of them, each of which is in every plan of this one.
fn beside_many_others(bed: &Bed, player: &Player, network: &Network) -> Result<()> {
    const AT_ONCE: u64 = 10;
    let other = Player::on(bed.host(2))?;
    let there = other.network()?;
    let (paced, times) = other.measure("its state on the disk", &there, || Ok(()))?;
    ensure!(paced.refused == 0, "{paced:?}");
    none_took_long(&times)?;
    let count = setting("ENDPOINTS", 50);
    for _ in 0..count.div_ceil(AT_ONCE) {
        other.runtime.block_on(futures_util::future::try_join_all((0..AT_ONCE).map(|_| async {
            let endpoint = other.dockerd.create_endpoint(&there).await?;
            other.dockerd.join(&there, &endpoint).await
        })))?;
    }
    eventually("all endpoints to be known", Duration::from_secs(60), || {
        let status = bed.host(1).shoal_json("status")?;
        let known = status["endpoints"]["remote"].as_u64().unwrap_or(0);
        ensure!(known >= count, "{known} of {count}");
        Ok(())
    })?;
    let (paced, times) = player.measure(&format!("{count} endpoints elsewhere"), network, || Ok(()))?;
    ensure!(paced.refused == 0, "{paced:?}");
    none_took_long(&times)
}

/// The process that encrypts is stopped, not dead: audits and counters wait for it.
fn a_stopped_engine(host: &Host, player: &Player, network: &Network) -> Result<()> {
    eventually_ok("a process that encrypts", Duration::from_secs(20), || {
        host.processes("wireguard").is_ok_and(|found| !found.is_empty())
    })?;
    let engines = host.processes("wireguard")?;
    let signal = |what| engines.iter().try_for_each(|pid| kill(Pid::from_raw(*pid), what));
    signal(Signal::SIGSTOP)?;
    let (paced, times) = player.measure("the process that encrypts is stopped", network, || {
        eventually("an audit to replace it", Duration::from_secs(60), || {
            let now = host.processes("wireguard")?;
            ensure!(!now.is_empty() && now != engines, "{now:?}");
            Ok(())
        })
    })?;
    // Those that were stopped have been killed.
    let _ = signal(Signal::SIGCONT);
    ensure!(paced.refused == 0 && paced.unanswered == 0, "{paced:?}");
    none_took_long(&times)
}

/// Nothing more fits. What the state's file has room for within itself is still written, so calls may be carried out.
fn a_full_disk(host: &Host, player: &Player, network: &Network) -> Result<()> {
    host.sh("fallocate --dig-holes /var/lib/shoal/state.redb\n\
         used=$(df -k --output=used /var/lib/shoal | tail -1)\n\
         mount -o remount,size=$((used + 4))k /var/lib/shoal\n\
         dd if=/dev/zero of=/var/lib/shoal/filling bs=4k 2>/dev/null || true")?;
    let (paced, times) = player.measure("the disk is full", network, || Ok(()))?;
    ensure!(paced.unanswered == 0, "{paced:?}");
    none_took_long(&times)?;
    host.sh("rm /var/lib/shoal/filling; mount -o remount,size=100m /var/lib/shoal")?;
    eventually("the disk to be written again", Duration::from_secs(60), || {
        player.runtime.block_on(async {
            let endpoint = player.dockerd.create_endpoint(network).await?;
            player.dockerd.join(network, &endpoint).await?;
            player.dockerd.end(network, &endpoint).await
        })
    })
}

/// A service manager that holds the socket and starts the agent again whenever it ends.
#[test]
fn calls_wait_for_an_agent_that_is_started_again_and_none_finds_no_socket() -> Result<()> {
    let bed = Bed::builder(1).without_dockerd().build()?;
    let host = bed.host(1);
    let binary = shoal_binary()?;
    let again = format!("while :; do sh -c 'LISTEN_PID=$$ exec {} agent'; done", binary.display());
    let socket = "/run/docker/plugins/shoal.sock";
    host.sh("mkdir -p /run/docker/plugins")?;
    let _manager =
        host.spawn(&["systemd-socket-activate", "-E", "NETBED_NAME", "-l", socket, "sh", "-c", &again])?;
    eventually_ok("the socket", Duration::from_secs(10), || Path::new(&seen(host, socket)).exists())?;
    // The first call starts the agent, and waits for it.
    let player = Player::on(host)?;
    eventually("the agent to answer", Duration::from_secs(20), || host.shoal("init"))?;
    let network = player.network()?;
    let (paced, times) = player.measure("the agent is killed once a second", &network, || {
        for _ in 0..span().as_secs() {
            let [agent] = agents(host)?[..] else { continue };
            kill(Pid::from_raw(agent), Signal::SIGKILL)?;
            eventually("another agent", Duration::from_secs(20), || {
                ensure!(agents(host)?.iter().any(|it| *it != agent), "none yet");
                host.shoal("status")
            })?;
        }
        Ok(())
    })?;
    ensure!(paced.started > 0, "{paced:?}");
    let first = paced.first.unwrap_or_default();
    ensure!(!first.contains("No such file") && !first.contains("refused (os error"), "{first}");
    ensure!(!times.is_empty(), "nothing was answered");
    let (paced, times) = player.measure("all well again", &network, || Ok(()))?;
    ensure!(paced.refused == 0, "{paced:?}");
    none_took_long(&times)?;
    // An agent that ends orderly leaves the socket to its owner.
    let [agent] = agents(host)?[..] else { anyhow::bail!("{:?} agents", agents(host)?) };
    kill(Pid::from_raw(agent), Signal::SIGTERM)?;
    eventually("it to end", Duration::from_secs(20), || {
        ensure!(Path::new(&seen(host, socket)).exists(), "the socket is gone");
        ensure!(!agents(host)?.contains(&agent), "it still runs");
        Ok(())
    })
}

/// The agents that run on a host, the shells that start them left out.
fn agents(host: &Host) -> Result<Vec<i32>> {
    host.processes("agent")
}
