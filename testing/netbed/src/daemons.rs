//! dockerd and the agent on a host.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Host;
use crate::poll::eventually;

/// The agent's socket: it answers when the agent does.
pub(crate) const AGENT_SOCKET: &str = "/run/shoal/agent.sock";
/// dockerd does not serve before it has tried every plugin it remembers, which takes 15 s each while one is missing.
const DOCKERD_START: Duration = Duration::from_secs(90);

impl Host {
    /// Starts dockerd with its usual paths and waits until it answers. Its data lie in the host's folder and outlive
    /// it.
    pub fn start_dockerd(&self) -> Result<()> {
        self.spawn_dockerd()?;
        self.await_dockerd()
    }

    /// The same with what stands in its `daemon.json`.
    pub fn start_dockerd_with(&self, settings: &str) -> Result<()> {
        self.spawn_dockerd_with(settings)?;
        self.await_dockerd()
    }

    /// The first half of [`Host::start_dockerd`].
    pub fn spawn_dockerd(&self) -> Result<()> {
        self.spawn_dockerd_with("{}")
    }

    fn spawn_dockerd_with(&self, settings: &str) -> Result<()> {
        self.sh(&format!(
            "cd /run/netbed; mkdir -p docker; echo '{settings}' > daemon.json; echo '{{}}' > docker/config.json"
        ))?;
        let data = self.folder().join("docker");
        let mut command = self.command();
        command.args(["dockerd", "--config-file=/run/netbed/daemon.json", "--exec-root=/run/docker"]);
        command.args(["--pidfile=/run/docker.pid", "--host=unix:///run/docker.sock"]);
        command.arg(format!("--data-root={}", data.display()));
        command.arg(format!("--cgroup-parent=/{}-{}", self.bed(), self.name()));
        command.args(["--exec-opt=native.cgroupdriver=cgroupfs", "--shutdown-timeout=3"]);
        start(&self.dockerd, command, &self.folder().join("dockerd.log"))
    }

    /// The second half of [`Host::start_dockerd`].
    pub fn await_dockerd(&self) -> Result<()> {
        let result = eventually(&format!("dockerd on {}", self.name()), DOCKERD_START, || {
            still_runs(&self.dockerd, "dockerd")?;
            self.run(&["docker", "version", "--format", "{{.Server.Version}}"])?.ok()
        });
        result.map(drop).with_context(|| self.tail("dockerd.log"))
    }

    /// Stops dockerd as the service manager does. Containers end with it.
    pub fn stop_dockerd(&self) -> Result<()> {
        end(&self.dockerd, Signal::SIGTERM, "dockerd", Duration::from_secs(30))
    }

    /// Kills dockerd and its containerd at once; the shims, and the containers, go on until it starts again.
    pub fn kill_dockerd(&self) -> Result<()> {
        end(&self.dockerd, Signal::SIGKILL, "dockerd", Duration::from_secs(10))?;
        // containerd dies with its parent, but as long as nobody has reaped it the next dockerd takes its process id
        // for a running containerd and waits for it.
        let pid = "/run/docker/containerd/containerd.pid";
        self.sh(&format!("if [ -e {pid} ]; then kill -9 $(cat {pid}) 2>/dev/null || true; rm {pid}; fi"))
            .map(drop)
    }

    /// Starts the agent and waits until it answers. Its log goes to `agent.log` in the host's folder.
    pub fn start_agent(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        self.start_agent_at(AGENT_SOCKET, arguments, environment)
    }

    /// The same for an agent that was told to answer at `socket`.
    pub fn start_agent_at(
        &self,
        socket: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        self.start_agent_of(&shoal_binary()?, socket, arguments, environment)
    }

    /// The same for the agent of another program.
    pub fn start_agent_of(
        &self,
        program: &std::path::Path,
        socket: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        let mut command = self.command();
        command.arg(program).arg("agent").args(arguments).envs(environment.iter().copied());
        start(&self.agent, command, &self.folder().join("agent.log"))?;
        let result = eventually(&format!("the agent on {}", self.name()), Duration::from_secs(20), || {
            still_runs(&self.agent, "the agent")?;
            self.run(&["test", "-S", socket])?.ok()?;
            // By the same program: a command line of another version may miss something in the answer.
            self.run(&[&program.to_string_lossy(), "--socket", socket, "status", "-o", "json"])?.ok()
        });
        result.map(drop).with_context(|| self.tail("agent.log"))
    }

    /// Ends the agent as the service manager does.
    pub fn stop_agent(&self) -> Result<()> {
        end(&self.agent, Signal::SIGTERM, "the agent", Duration::from_secs(20))
    }

    /// Kills the agent with SIGKILL and waits until it is gone.
    pub fn kill_agent(&self) -> Result<()> {
        end(&self.agent, Signal::SIGKILL, "the agent", Duration::from_secs(10))
    }

    /// The agent's process id, while it runs.
    pub fn agent_pid(&self) -> Option<u32> {
        lock(&self.agent).as_ref().map(Child::id)
    }

    fn tail(&self, log: &str) -> String {
        let text = std::fs::read_to_string(self.folder().join(log)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("{} {log}:\n{}", self.name(), lines[lines.len().saturating_sub(30)..].join("\n"))
    }
}

/// The binary under test: `$SHOAL_BIN`, else the one in the build folder of this test.
pub fn shoal_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SHOAL_BIN") {
        return Ok(path.into());
    }
    built("shoal").context("set SHOAL_BIN, or run `cargo build -p shoal` first")
}

/// A program of this workspace, beside the running one or one folder up (tests lie in `deps`).
pub(crate) fn built(program: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let places = here.ancestors().skip(1).take(2).map(|folder| folder.join(program));
    let found = places.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{program} is not built beside {}", here.display()))
}

fn start(slot: &Mutex<Option<Child>>, mut command: Command, log: &std::path::Path) -> Result<()> {
    let mut slot = lock(slot);
    if slot.is_some() {
        bail!("it runs already");
    }
    let log = File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    *slot = Some(command.spawn()?);
    Ok(())
}

fn still_runs(slot: &Mutex<Option<Child>>, what: &str) -> Result<()> {
    let mut slot = lock(slot);
    match slot.as_mut().map(Child::try_wait).transpose()?.flatten() {
        Some(status) => bail!("{what} has ended with {status}"),
        None => Ok(()),
    }
}

/// Signals a daemon and waits for its end; one that does not run is fine.
fn end(slot: &Mutex<Option<Child>>, signal: Signal, what: &str, limit: Duration) -> Result<()> {
    let Some(mut child) = lock(slot).take() else { return Ok(()) };
    // An error means that it has ended already, which the wait below sees.
    let _ = kill(Pid::from_raw(i32::try_from(child.id())?), signal);
    eventually(&format!("the end of {what}"), limit, || match child.try_wait() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("it still runs".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn lock(slot: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
