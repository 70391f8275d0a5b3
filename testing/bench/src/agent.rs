//! What the agent itself costs: processor and memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shoal_conformance::{Dockerd, Engine, Network, Options};
use shoal_netbed::{Bed, Host, eventually, pause};
use tokio::runtime::Runtime;

use crate::figures::{Figures, Row};
use crate::stage::Stage;
use crate::subject::{Contestant, Measure, Scope};

/// How long an agent is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(30);

/// Containers that come and go, and the time in which they do.
const CONTAINERS: u32 = 50;
const MINUTE: Duration = Duration::from_secs(60);

/// Endpoints on the other host, and here. Figures for more are computed: one host with thousands is nobody's, and its
/// kernel takes minutes to make as many links.
const REMOTE: usize = 1_000;
const LOCAL: usize = 200;

/// Endpoints of one network.
const PER_NETWORK: usize = 250;

/// Watches an agent of a stage on which nothing else goes on.
pub(crate) fn watch(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let host = stage.fabric().host(1);
    let pid = host.agent_pid().context("the agent does not run")?;
    let before = busy(pid)?;
    pause(IDLE);
    tell(figures, "idle", pid, before, IDLE)?;
    let before = busy(pid)?;
    let (began, network) = (clock(), Stage::network(Contestant::Shoal));
    for number in 0..CONTAINERS {
        pause((MINUTE * number / CONTAINERS).saturating_sub(began.elapsed()));
        let run = ["docker", "run", "--rm", "--network", &network, stage.image(), "bench-traffic", "now"];
        host.run(&run)?.ok()?;
    }
    pause(MINUTE.saturating_sub(began.elapsed()));
    tell(figures, &format!("{CONTAINERS} containers per minute"), pid, before, began.elapsed())
}

/// Fills a fabric of two with endpoints, by the calls that dockerd would make.
pub(crate) fn fill(figures: &mut Figures) -> Result<()> {
    let bed = Bed::builder(2).without_dockerd().quiet().build()?;
    let (here, there) = (bed.host(1), bed.host(2));
    bed.on_each(|host| host.start_agent(&[], &[]))?;
    here.shoal("init")?;
    let token = here.shoal("token")?;
    let token = token.lines().last().context("no token")?;
    there.shoal(&format!("join {} {token}", here.address()))?;
    let pid = here.agent_pid().context("the agent does not run")?;
    let (local, remote) = (Player::on(here, 0)?, Player::on(there, 2 * LOCAL)?);
    let empty = resident(pid)?;

    remote.fill(REMOTE)?;
    eventually("the other host to know all endpoints", Duration::from_secs(60), || {
        let known = endpoints(here)?;
        ensure!(known >= REMOTE, "{known}");
        Ok(())
    })?;
    let each = (resident(pid)? - empty) / REMOTE as f64;
    memory(figures, "10,000 remote endpoints more", each * 10_000.0);
    local.fill(LOCAL)?;
    let computed = (5_000 - REMOTE) as f64 * each;
    memory(figures, "200 local and 5,000 remote endpoints", resident(pid)? + computed);
    Ok(())
}

/// dockerd's part on a host that has none.
struct Player {
    runtime: Runtime,
    dockerd: Dockerd,
}

impl Player {
    /// Networks are named by what was drawn before: `drawn` keeps those of two players apart.
    fn on(host: &Host, drawn: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let seen = |path: &str| format!("/proc/{}/root{path}", host.pid());
        let dockerd = runtime.block_on(async {
            let engine = Engine::listen(Path::new(&seen("/run/docker.sock")))?;
            Dockerd::start(Options::of(seen("/run/docker/plugins/shoal.sock")), Some(engine)).await
        })?;
        (0..drawn).for_each(|_| drop(dockerd.draw()));
        Ok(Self { runtime, dockerd })
    }

    fn fill(&self, count: usize) -> Result<()> {
        self.runtime.block_on(async {
            let mut left = count;
            while left > 0 {
                let network: Network = self.dockerd.create_network().await?;
                let some = left.min(PER_NETWORK);
                for _ in 0..some {
                    let endpoint = self.dockerd.create_endpoint(&network).await?;
                    self.dockerd.join(&network, &endpoint).await?;
                }
                left -= some;
            }
            Ok(())
        })
    }
}

fn endpoints(host: &Host) -> Result<usize> {
    let answer = host.shoal_json("endpoints")?;
    answer["endpoints"].as_array().map(Vec::len).context("no list of endpoints")
}

fn tell(figures: &mut Figures, work: &str, pid: u32, before: Duration, span: Duration) -> Result<()> {
    let percent = 100.0 * (busy(pid)? - before).as_secs_f64() / span.as_secs_f64();
    let row = Row { scope: Scope::Agent, work: work.to_owned(), measure: Measure::Percent };
    figures.add(row, Contestant::Shoal, percent);
    memory(figures, work, resident(pid)?);
    Ok(())
}

fn memory(figures: &mut Figures, work: &str, mebibytes: f64) {
    let row = Row { scope: Scope::Agent, work: work.to_owned(), measure: Measure::Mebibytes };
    figures.add(row, Contestant::Shoal, mebibytes);
}

/// Processor time of all threads of a process: the first number of `schedstat`, nanoseconds.
fn busy(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Resident memory of a process, MiB.
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}

#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn clock() -> Instant {
    Instant::now()
}
