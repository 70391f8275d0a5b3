//! A door on a socket of its own, with a handler that follows a script, and a client.

#![allow(dead_code, reason = "each test file that includes this one uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shoal_docker::{Answer, Handler, INTERFACE_PREFIX, Settings, serve};
use shoal_networks::{Refusal, Reply, Verb};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What a script answers a verb.
pub(crate) type Script = dyn Fn(&Verb) -> Result<Reply, Refusal> + Send + Sync;

/// Follows a script and remembers what it was asked.
pub(crate) struct Scripted {
    calls: Mutex<Vec<Verb>>,
    script: Box<Script>,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&Verb) -> Result<Reply, Refusal> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { calls: Mutex::default(), script: Box::new(script) })
    }

    /// What was asked so far, in order.
    pub(crate) fn calls(&self) -> Vec<Verb> {
        self.calls.lock().unwrap().clone()
    }
}

impl Handler for Scripted {
    fn call(&self, verb: Verb) -> Answer<'_> {
        let answer = (self.script)(&verb);
        self.calls.lock().unwrap().push(verb);
        Box::pin(async move { answer })
    }
}

/// A success of the right kind for every verb.
pub(crate) fn agree(verb: &Verb) -> Result<Reply, Refusal> {
    Ok(match verb {
        Verb::RequestPool { pool, .. } => {
            let prefix = pool.unwrap_or("10.42.0.0/16".parse().unwrap());
            Reply::Pool { id: format!("pool-{prefix}"), prefix, gateway: None }
        }
        Verb::RequestAddress { address, .. } => {
            Reply::Address(address.unwrap_or("10.42.0.2".parse().unwrap()).into())
        }
        Verb::CreateEndpoint { .. } => Reply::Endpoint { mac: None },
        Verb::Join { .. } => Reply::Joined {
            inner_name: "shc0".parse().unwrap(),
            prefix: INTERFACE_PREFIX,
            routes: Vec::new(),
            no_gateway_bridge: false,
        },
        Verb::EndpointInfo { .. } => Reply::Info([].into()),
        _ => Reply::Done,
    })
}

/// A door that is being served.
pub(crate) struct Door {
    pub(crate) socket: PathBuf,
    shutdown: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Door {
    /// Serves on a socket of its own.
    pub(crate) fn open(handler: Arc<dyn Handler>, settings: Settings) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("shoal-door-{}-{number}.sock", std::process::id());
        Self::open_at(&std::env::temp_dir().join(name), handler, settings)
    }

    /// Serves at `socket`.
    pub(crate) fn open_at(socket: &Path, handler: Arc<dyn Handler>, settings: Settings) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (shutdown, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, handler, settings, async {
            let _ = stopped.await;
        }));
        Self { socket: socket.to_owned(), shutdown: Some(shutdown), server }
    }

    /// Ends the service as the agent would.
    pub(crate) async fn close(mut self) {
        drop(self.shutdown.take());
        (&mut self.server).await.unwrap().unwrap();
    }

    /// Posts a body and returns the status and the answer.
    pub(crate) async fn post(&self, verb: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let request =
            Request::post(format!("/{verb}")).header("host", "plugin").body(Full::new(body.into())).unwrap();
        self.send(request).await
    }

    /// Sends any request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> (u16, Value) {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}
