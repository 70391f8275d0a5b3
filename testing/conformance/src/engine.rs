//! A stand-in for Docker's API, for drivers that ask dockerd back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Answers as a dockerd with the networks that the checks have made and no containers. Ends when dropped.
#[derive(Debug)]
pub struct Engine {
    networks: Arc<Mutex<BTreeMap<String, Value>>>,
    server: JoinHandle<()>,
}

impl Engine {
    /// Listens at `socket`, in the place of whatever file is there.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path) -> Result<Self> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot stand in for Docker at {}", socket.display()))?;
        let networks = Arc::new(Mutex::default());
        let known = Arc::clone(&networks);
        let answering = move |request: Request| {
            let response = answer(&known, request.uri().path());
            async move { response }
        };
        let router = Router::new().fallback(answering);
        let server = tokio::spawn(async move {
            // It ends with this value; a failing listener shows as a driver that does not know its networks' names.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { networks, server })
    }

    /// Makes a network known, as Docker shows it once its driver has agreed.
    pub(crate) fn add(&self, id: &str, driver: &str, subnets: &[String]) {
        let config: Vec<Value> = subnets.iter().map(|subnet| json!({"Subnet": subnet})).collect();
        let network = json!({
            "Id": id, "Name": name(id), "Driver": driver, "Scope": "local", "Labels": {}, "Options": {},
            "IPAM": {"Driver": driver, "Options": {}, "Config": config},
            "Internal": false, "EnableIPv6": subnets.iter().any(|subnet| subnet.contains(':')),
        });
        self.lock().insert(id.to_owned(), network);
    }

    /// Forgets a network.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The name of a network of the checks: `conformance-` and the first digits of its id.
fn name(id: &str) -> String {
    format!("conformance-{}", id.chars().take(12).collect::<String>())
}

fn answer(networks: &Mutex<BTreeMap<String, Value>>, path: &str) -> Response {
    let networks = networks.lock().unwrap_or_else(PoisonError::into_inner);
    // The version may stand in front: /v1.41/networks.
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    parts.next_if(|part| part.starts_with("v1."));
    match (parts.next(), parts.next()) {
        (Some("_ping"), _) => whole(StatusCode::OK, &json!("OK")),
        (Some("version"), _) => whole(
            StatusCode::OK,
            &json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}),
        ),
        // Nothing ever happens, and the connection stays.
        (Some("events"), _) => {
            let nothing = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            Response::new(Body::from_stream(nothing))
        }
        (Some("networks"), None) => whole(StatusCode::OK, &networks.values().cloned().collect()),
        (Some("networks"), Some(id)) => match networks.get(id) {
            Some(network) => whole(StatusCode::OK, network),
            None => whole(StatusCode::NOT_FOUND, &json!({"message": format!("network {id} not found")})),
        },
        (Some("containers"), Some("json")) => whole(StatusCode::OK, &json!([])),
        _ => whole(StatusCode::NOT_FOUND, &json!({"message": "page not found"})),
    }
}

fn whole(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    response
}
