//! A scripted agent on a real socket, and the real binary asking it.

pub(crate) mod samples;

use std::path::PathBuf;
use std::process::{Command as Process, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use shoal_api::{Agent, Answer, Command, Endpoints, Failure, Notices, Version, listen, serve};

/// How the scripted agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// A fabric of four hosts of which one is down, one is half reached, one forgotten.
    Fabric,
    /// No fabric yet, nothing lost.
    Alone,
    /// Everything fails.
    Refusing,
}

/// The agent.
pub(crate) struct Scripted {
    mood: Mood,
    asked: Mutex<Vec<Command>>,
    times_hosts: AtomicU32,
}

impl Agent for Scripted {
    async fn call(&self, command: Command) -> Result<Answer, Failure> {
        self.asked.lock().unwrap().push(command.clone());
        match self.mood {
            Mood::Fabric => Ok(self.in_fabric(&command)),
            Mood::Alone => alone(&command),
            Mood::Refusing => {
                Err(Failure::conflict("the network \"shop\" is used by container web on host-2")
                    .hint("stop it first"))
            }
        }
    }
}

impl Scripted {
    fn in_fabric(&self, command: &Command) -> Answer {
        match command {
            Command::Init { .. } => samples::joined(1).into(),
            Command::Join(_) => samples::joined(4).into(),
            Command::Token { .. } => samples::token().into(),
            Command::TokenList => samples::open_tokens().into(),
            Command::TokenRevoke { token: Some(_) } => Answer::Revoked(vec!["5eed5eed".to_owned()]),
            Command::TokenRevoke { token: None } => {
                Answer::Revoked(samples::open_tokens().into_iter().map(|token| token.name).collect())
            }
            Command::Leave => Notices { notices: vec!["Network shop stays in Docker.".to_owned()] }.into(),
            Command::Forget { .. } | Command::NetworkDelete { .. } | Command::RotateKey => {
                Notices::default().into()
            }
            Command::Status => samples::status().into(),
            // The first question comes before every port has answered.
            Command::Hosts => samples::hosts(self.times_hosts.fetch_add(1, Ordering::Relaxed) > 0).into(),
            Command::NetworkCreate(_) => samples::networks().remove(0).into(),
            Command::NetworkList => samples::networks().into(),
            Command::Endpoints => samples::endpoints().into(),
            Command::Addresses => samples::addresses().into(),
            Command::Doctor => samples::doctor(false).into(),
            Command::Version => Version { version: "0.0.9".to_owned() }.into(),
        }
    }
}

fn alone(command: &Command) -> Result<Answer, Failure> {
    Ok(match command {
        Command::Status => samples::status_alone().into(),
        Command::Hosts => Answer::Hosts(Vec::new()),
        Command::NetworkList => Answer::Networks(Vec::new()),
        Command::TokenList => Answer::Tokens(Vec::new()),
        Command::Endpoints => Endpoints::default().into(),
        Command::Addresses => Answer::Addresses(Vec::new()),
        Command::Doctor => samples::doctor(true).into(),
        Command::Version => Version { version: env!("CARGO_PKG_VERSION").to_owned() }.into(),
        _ => {
            return Err(
                Failure::conflict("this host belongs to no fabric").hint("run `shoal init` or `shoal join`")
            );
        }
    })
}

/// A served agent; ends with its test.
pub(crate) struct Bed {
    folder: PathBuf,
    agent: Arc<Scripted>,
    _runtime: tokio::runtime::Runtime,
}

impl Bed {
    /// Serves an agent; `test` names the socket's folder.
    pub(crate) fn new(test: &str, mood: Mood) -> Self {
        let folder = std::env::temp_dir().join(format!("shoal-cli-{test}-{}", std::process::id()));
        let agent = Arc::new(Scripted { mood, asked: Mutex::default(), times_hosts: AtomicU32::new(0) });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let served = agent.clone();
        let socket = folder.join("agent.sock");
        runtime.block_on(async move {
            let listener = listen(&socket).unwrap();
            tokio::spawn(serve(listener, served, std::future::pending()));
        });
        Self { folder, agent, _runtime: runtime }
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// Runs `shoal LINE` against this agent.
    pub(crate) fn run(&self, line: &str) -> Output {
        shoal(line).env("SHOAL_SOCKET", self.socket()).output().unwrap()
    }

    /// What the agent was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Command> {
        std::mem::take(&mut self.agent.asked.lock().unwrap())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The real binary with an empty environment.
pub(crate) fn shoal(line: &str) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_shoal"));
    process.args(line.split_whitespace()).env_clear().stdin(Stdio::null());
    process
}
