//! One host of a bed: commands in it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::capture::{Output, Running, run};
use crate::remains::{self, BedName};
use crate::watch::marker_hex;

/// How long a command may take unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(90);

/// A network, a mount and a UTS namespace with what runs in them.
#[derive(Debug)]
pub struct Host {
    place: Place,
    holder: Mutex<Child>,
    pid: u32,
    pub(crate) dockerd: Mutex<Option<Child>>,
    pub(crate) agent: Mutex<Option<Child>>,
}

/// Where a host belongs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) bed: BedName,
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) number: usize,
}

impl Host {
    pub(crate) fn new(place: Place, holder: Child) -> Self {
        let pid = holder.id();
        Self { place, holder: Mutex::new(holder), pid, dockerd: Mutex::default(), agent: Mutex::default() }
    }

    /// Its host name: `h1`, or `x1` for an outsider.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The process that holds its namespaces.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its network namespace as a path.
    pub fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// Its IPv4 address on the switch.
    pub fn address(&self) -> String {
        format!("172.31.0.{}", self.place.number)
    }

    /// Its IPv6 address on the switch.
    pub fn address6(&self) -> String {
        format!("fd00:7368::{:x}", self.place.number)
    }

    /// Its folder on the machine's disk: logs and Docker's data.
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Ends the process that holds its namespaces, the last one there.
    pub(crate) fn end_holder(&self) -> Result<()> {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        holder.kill()?;
        holder.wait()?;
        Ok(())
    }

    pub(crate) fn bed(&self) -> &BedName {
        &self.place.bed
    }

    pub(crate) fn number(&self) -> usize {
        self.place.number
    }

    /// Its port's name at the switch, if no router stands between.
    pub(crate) fn port(&self) -> String {
        format!("p{}", self.place.number)
    }

    /// A command line that enters the host's namespaces; add the program and its arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-n", "-m", "-u", "--"]);
        command.env(remains::TAG, self.place.bed.as_str());
        // A person's own Docker settings must not lead a test to another daemon.
        for foreign in
            ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "COMPOSE_FILE"]
        {
            command.env_remove(foreign);
        }
        command.env("DOCKER_CONFIG", "/run/netbed/docker");
        // The agent reads every variable of its own prefix as a setting.
        command.env_remove("SHOAL_BIN");
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        self.run_within(words, PATIENCE)
    }

    /// Runs a program that must end within `limit`.
    pub fn run_within(&self, words: &[&str], limit: Duration) -> Result<Output> {
        let mut command = self.command();
        command.args(words);
        run(command, self.shown(words), limit)
    }

    /// Starts a program in the background.
    pub fn spawn(&self, words: &[&str]) -> Result<Running> {
        let mut command = self.command();
        command.args(words);
        Running::start(command, self.shown(words))
    }

    /// Runs a shell script that must succeed; returns its output.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.run(&["sh", "-ec", script])?.ok()
    }

    /// Runs `docker` with arguments separated by spaces; it must succeed. See [`Host::try_docker`].
    pub fn docker(&self, arguments: &str) -> Result<String> {
        self.try_docker(arguments)?.ok()
    }

    /// Runs `docker` with arguments separated by spaces (none of them may hold one; else use [`Host::run`]).
    pub fn try_docker(&self, arguments: &str) -> Result<Output> {
        self.run(&words("docker", arguments))
    }

    /// Runs `shoal` with arguments separated by spaces; it must succeed.
    pub fn shoal(&self, arguments: &str) -> Result<String> {
        self.try_shoal(arguments)?.ok()
    }

    /// Runs `shoal` with arguments separated by spaces.
    pub fn try_shoal(&self, arguments: &str) -> Result<Output> {
        let binary = crate::daemons::shoal_binary()?;
        let mut command = self.command();
        command.arg(binary).args(arguments.split_whitespace());
        run(command, format!("{}$ shoal {arguments}", self.name()), PATIENCE)
    }

    /// Runs `shoal ... -o json` and reads what it prints.
    pub fn shoal_json(&self, arguments: &str) -> Result<Value> {
        let text = self.shoal(&format!("{arguments} -o json"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`shoal {arguments} -o json` printed no JSON: {text}"))
    }

    /// Runs a program in a running container.
    pub fn exec(&self, container: &str, words: &[&str]) -> Result<Output> {
        self.exec_within(container, words, PATIENCE)
    }

    /// Runs a program in a running container that must end within `limit`.
    pub fn exec_within(&self, container: &str, words: &[&str], limit: Duration) -> Result<Output> {
        self.run_within(&[&["docker", "exec", container], words].concat(), limit)
    }

    /// Starts a program in a running container, in the background.
    pub fn exec_spawn(&self, container: &str, words: &[&str]) -> Result<Running> {
        self.spawn(&[&["docker", "exec", container], words].concat())
    }

    /// Pings from a container until one answer comes, at most for five seconds.
    pub fn ping(&self, container: &str, target: &str) -> Result<()> {
        crate::eventually(
            &format!("{container} on {} to reach {target}", self.name()),
            Duration::from_secs(5),
            || self.exec(container, &["ping", "-c1", "-W1", "-p", &marker_hex(), target])?.ok(),
        )
        .map(drop)
    }

    /// Asserts that none of three pings from a container is answered.
    pub fn ping_fails(&self, container: &str, target: &str) -> Result<()> {
        self.exec(container, &["ping", "-c3", "-i0.2", "-W1", "-p", &marker_hex(), target])?
            .refused()
            .map(drop)
    }

    /// The first IPv4 and the global IPv6 address of a container in a network; empty text if it has none.
    pub fn addresses(&self, container: &str, network: &str) -> Result<(String, String)> {
        let format = format!(
            "{{{{with index .NetworkSettings.Networks \"{network}\"}}}}{{{{.IPAddress}}}} {{{{.GlobalIPv6Address}}}}{{{{end}}}}"
        );
        let text = self.run(&["docker", "inspect", "-f", &format, container])?.ok()?;
        let (v4, v6) = text.split_once(' ').unwrap_or((&text, ""));
        Ok((v4.to_owned(), v6.to_owned()))
    }

    /// The processes in its network namespace whose command line begins with a program and holds this word.
    pub fn processes(&self, word: &str) -> Result<Vec<i32>> {
        let namespace = std::fs::read_link(self.netns())?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let is_it = line.split(|byte| *byte == 0).any(|it| it == word.as_bytes());
            if is_it && std::fs::read_link(path.join("ns/net")).is_ok_and(|its| its == namespace) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Connects to a Unix socket of the host's, sends `request` and returns what is answered up to an empty line.
    pub fn ask_socket(&self, path: &str, request: &str) -> Result<String> {
        let mut stream = UnixStream::connect(format!("/proc/{}/root{path}", self.pid))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\n\n") {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&piece[..count]);
        }
        Ok(String::from_utf8(answer)?)
    }

    fn shown(&self, words: &[&str]) -> String {
        format!("{}$ {}", self.name(), words.join(" "))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The bed has killed them; a bed that is kept leaves them running.
        for child in [&self.dockerd, &self.agent] {
            if let Ok(mut slot) = child.lock()
                && let Some(child) = slot.as_mut()
            {
                let _ = child.try_wait();
            }
        }
        if let Ok(mut holder) = self.holder.lock() {
            let _ = holder.try_wait();
        }
    }
}

fn words<'a>(program: &'a str, arguments: &'a str) -> Vec<&'a str> {
    std::iter::once(program).chain(arguments.split_whitespace()).collect()
}
