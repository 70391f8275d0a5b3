//! Asks the agent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{Answer, Command, Failure, FromAnswer, ROUTE};

/// A connection to the agent. Commands go one after the other.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    path: PathBuf,
}

/// Why the agent is not reached.
#[derive(Debug, thiserror::Error)]
#[error("the agent is not reached at {path}: {problem}", path = path.display())]
pub struct ConnectError {
    /// The socket.
    pub path: PathBuf,
    /// What stands in the way.
    pub problem: ConnectProblem,
}

/// What stands between a client and the agent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectProblem {
    /// There is no socket, or nobody listens on it.
    #[error("it is not running")]
    NotRunning,
    /// The socket is root's.
    #[error("only root may ask it")]
    Forbidden,
    /// Anything else, with the system's reason.
    #[error("{0}")]
    Other(String),
}

impl Client {
    /// Connects to the agent's socket.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(path: &Path) -> Result<Self, ConnectError> {
        let refused = |problem| ConnectError { path: path.to_owned(), problem };
        let stream =
            UnixStream::connect(path).await.map_err(|error| refused(ConnectProblem::from_io(&error)))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| refused(ConnectProblem::Other(error.to_string())))?;
        // Its end is seen by the request that is under way.
        tokio::spawn(connection);
        Ok(Self { sender, path: path.to_owned() })
    }

    /// Asks for one command and waits for its answer.
    ///
    /// # Errors
    /// The agent's own failure, or one of kind `unavailable` if the connection broke.
    pub async fn call(&mut self, command: &Command) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(command).map_err(Failure::internal)?;
        let request = hyper::Request::post(ROUTE)
            .header("host", "shoal")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::internal)?;
        let response = self.sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let carried_out = response.status().is_success();
        let body = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        if carried_out {
            return serde_json::from_slice(&body).map_err(|error| self.foreign(&error));
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|error| self.foreign(&error)))
    }

    /// Asks and takes the answer's payload.
    ///
    /// # Errors
    /// As [`Client::call`]; an answer of another kind is an internal failure.
    pub async fn ask<T: FromAnswer>(&mut self, command: &Command) -> Result<T, Failure> {
        T::from_answer(self.call(command).await?)
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        Failure::unavailable(format!(
            "the agent at {} ended before it answered: {error}",
            self.path.display()
        ))
        .hint("see `journalctl -u shoal`")
    }

    fn foreign(&self, error: &serde_json::Error) -> Failure {
        Failure::internal(format!("the answer of {} is not understood: {error}", self.path.display()))
            .hint("agent and command line may be of different versions: compare with `shoal version`")
    }
}

impl ConnectProblem {
    fn from_io(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Self::NotRunning,
            ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Other(error.to_string()),
        }
    }
}
