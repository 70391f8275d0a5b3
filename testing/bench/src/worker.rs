//! A worker of `bench-traffic`, in a container, and what it is asked.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use shoal_netbed::Host;

use crate::processors;

/// How long an answer may take beyond the work's own time, and a worker's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that answers a line on its standard input with a line of JSON. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Worker {
    name: String,
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Worker {
    /// Starts one as a container, in the words of `docker run`; the container goes with it.
    pub(crate) fn start(host: &Host, name: &str, network: &str, image: &str) -> Result<Self> {
        let mut command = host.command();
        command.args(["docker", "run", "-i", "--rm", "--name", name, "--network", network]);
        command.args(["--cpuset-cpus", &processors::of(host).to_string()]);
        command.args([image, "bench-traffic", "worker"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = format!("the worker {name} on {}", host.name());
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = input.zip(output).context("a piped child has pipes")?;
        let (told, answers) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| told.send(line))
        });
        let worker = Self { name, child, input, answers };
        worker.answer(PATIENCE)?;
        Ok(worker)
    }

    /// Gives it work that takes `span`, and waits for what came of it.
    pub(crate) fn ask(&mut self, work: &str, span: Duration) -> Result<Value> {
        writeln!(self.input, "{work}").with_context(|| format!("{} has gone", self.name))?;
        self.answer(span + PATIENCE).with_context(|| format!("`{work}` by {}", self.name))
    }

    fn answer(&self, limit: Duration) -> Result<Value> {
        let line = self.answers.recv_timeout(limit);
        let line = line.with_context(|| format!("{} did not answer within {limit:?}", self.name))?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.name))?;
        match answer["error"].as_str() {
            Some(error) => bail!("{}: {error}", self.name),
            None => Ok(answer),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `bench-traffic` lies: beside this program.
pub(crate) fn traffic_path() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("bench-traffic");
    anyhow::ensure!(path.is_file(), "{} is missing: build the whole crate shoal-bench", path.display());
    Ok(path)
}
