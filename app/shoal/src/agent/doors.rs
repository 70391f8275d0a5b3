//! The doors: two sockets whose calls become inputs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shoal_api::{Answer, Command, Failure};
use shoal_networks::{Refusal, Verb};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::Input;
use super::activation::Handed;
use shoal_config::Settings;

/// How long open calls may take to end when the agent stops.
const SHUT_WITHIN: Duration = Duration::from_secs(2);

/// The open doors.
pub(crate) struct Doors {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    sockets: Vec<std::path::PathBuf>,
}

impl Doors {
    /// Answers what is under way, then removes the sockets: a socket file without a listener would make every engine
    /// operation that looks for plugins wait. A socket that was handed over stays: its owner listens on.
    pub(crate) async fn shut(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = tokio::time::timeout(SHUT_WITHIN, task).await;
        }
        for socket in self.sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Opens both sockets, Docker's as it was handed over if it was.
pub(crate) fn open(
    settings: &Settings,
    mut handed: Handed,
    inputs: &mpsc::Sender<Input>,
) -> anyhow::Result<Doors> {
    let (stop, stopped) = watch::channel(false);
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let admin = shoal_api::listen(&settings.socket)?;
    let mut sockets = vec![settings.socket.clone()];
    let plugin = match handed.claim(&settings.plugin_socket) {
        Some(socket) => take_over(socket).context("cannot use the socket that was handed over")?,
        None => {
            sockets.push(settings.plugin_socket.clone());
            listen_for_docker(&settings.plugin_socket)?
        }
    };
    handed.tell_unclaimed();
    let operator = Arc::new(Operator { inputs: inputs.clone() });
    let engine = Arc::new(Engine { inputs: inputs.clone() });
    let (admin_stop, plugin_stop) = (wait(stopped.clone()), wait(stopped));
    let tasks = vec![
        tokio::spawn(async move { report("admin", shoal_api::serve(admin, operator, admin_stop).await) }),
        tokio::spawn(async move {
            let calls = shoal_docker::Settings::default();
            report("plugin", shoal_docker::serve(plugin, engine, calls, plugin_stop).await);
        }),
    ];
    Ok(Doors { stop, tasks, sockets })
}

fn report(door: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(door, %error, "the socket is no longer served");
    }
}

fn take_over(socket: std::os::unix::net::UnixListener) -> std::io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// The plugin socket, readable by root alone: whoever can talk to it can take addresses.
fn listen_for_docker(path: &Path) -> anyhow::Result<UnixListener> {
    let context = || format!("cannot listen on {}", path.display());
    if path.exists() {
        std::fs::remove_file(path).with_context(context)?;
    }
    let listener = UnixListener::bind(path).with_context(context)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(context)?;
    Ok(listener)
}

struct Operator {
    inputs: mpsc::Sender<Input>,
}

impl shoal_api::Agent for Operator {
    async fn call(&self, command: Command) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Failure::unavailable("the agent is stopping");
        self.inputs.send(Input::Command(command, reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

struct Engine {
    inputs: mpsc::Sender<Input>,
}

impl shoal_docker::Handler for Engine {
    fn call(&self, verb: Verb) -> shoal_docker::Answer<'_> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let stopping = || Refusal("shoal's agent is stopping: try again in a moment".into());
            self.inputs.send(Input::Verb(verb, reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        })
    }
}
