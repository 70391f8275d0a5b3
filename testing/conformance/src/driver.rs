//! One call to a driver, and its answer as dockerd reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

/// A driver behind its socket. Every call has a connection of its own.
#[derive(Debug)]
pub struct Driver {
    socket: PathBuf,
    limit: Duration,
    times: Mutex<Times>,
}

/// How long calls took until their answer was there, by verb, in the order in which they were answered.
pub type Times = BTreeMap<String, Vec<Duration>>;

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; text that is no JSON stands here as a string.
    pub body: Value,
}

/// A call that the driver did not carry out: what dockerd tells its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Driver {
    /// The driver behind `socket`; a call that takes longer than `limit` counts as not answered.
    pub fn at(socket: impl Into<PathBuf>, limit: Duration) -> Self {
        Self { socket: socket.into(), limit, times: Mutex::default() }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How long a call may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Makes a call and reads the answer as dockerd does.
    ///
    /// # Errors
    /// No answer in time, or one that dockerd would misread.
    pub async fn call(&self, verb: &str, body: &Value) -> Result<Result<Value, Refused>> {
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        self.post(verb, bytes).await?.read(verb)
    }

    /// Posts any bytes as the body of a call.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn post(&self, verb: &str, body: impl Into<Bytes>) -> Result<Answer> {
        let request =
            Request::post(format!("/{verb}")).header("host", "plugin").body(Full::new(body.into()))?;
        let started = Instant::now();
        let answer = self.send(request).await.with_context(|| format!("{verb} was not answered"))?;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.entry(verb.to_owned()).or_default().push(started.elapsed());
        Ok(answer)
    }

    /// Sends any request.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        match timeout(self.limit, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => bail!("nothing came within {:?}", self.limit),
        }
    }

    /// A bare connection, for what no HTTP client would send.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect(&self) -> Result<UnixStream> {
        UnixStream::connect(&self.socket).await.with_context(|| format!("{}", self.socket.display()))
    }

    /// How long calls took since this was asked last.
    pub fn take_times(&self) -> Times {
        std::mem::take(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        connection.abort();
        let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) })
    }
}

impl Answer {
    /// As dockerd reads it: of a network driver an error is in `Err`, of an IPAM driver in `Error`, and any status but
    /// 200 is one.
    ///
    /// # Errors
    /// A success that is no JSON object, and an error that dockerd would take for a success.
    pub fn read(self, verb: &str) -> Result<Result<Value, Refused>> {
        let sentence = |key: &str| self.body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (err, error) = (sentence("Err"), sentence("Error"));
        if self.status != 200 {
            let told = err.or(error).map_or_else(|| self.body.to_string(), str::to_owned);
            return Ok(Err(Refused(told)));
        }
        let read = if verb.starts_with("IpamDriver.") { error } else { err };
        if let Some(told) = read {
            return Ok(Err(Refused(told.to_owned())));
        }
        ensure!(
            err.is_none() && error.is_none(),
            "{verb}: dockerd takes this error for a success: {}",
            self.body
        );
        ensure!(self.body.is_object(), "{verb} succeeded with what is no JSON object: {}", self.body);
        Ok(Ok(self.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(verb: &str, status: u16, body: Value) -> Result<Result<Value, Refused>> {
        Answer { status, body }.read(verb)
    }

    #[test]
    fn errors_stand_where_dockerd_looks_for_them() {
        let refused = |text: &str| Err(Refused(text.to_owned()));
        assert_eq!(read("NetworkDriver.Join", 200, json!({"Err": "no"})).unwrap(), refused("no"));
        assert_eq!(read("IpamDriver.ReleasePool", 200, json!({"Error": "no"})).unwrap(), refused("no"));
        assert_eq!(read("IpamDriver.ReleasePool", 500, json!({"Err": "no"})).unwrap(), refused("no"));
        assert_eq!(read("NetworkDriver.Join", 404, json!("gone")).unwrap(), refused("\"gone\""));
    }

    #[test]
    fn an_error_that_dockerd_would_not_see_is_a_fault() {
        assert!(read("IpamDriver.RequestAddress", 200, json!({"Err": "no"})).is_err());
        assert!(read("NetworkDriver.Join", 200, json!({"Error": "no"})).is_err());
        assert!(read("NetworkDriver.Join", 200, json!("done")).is_err());
        assert_eq!(read("NetworkDriver.Join", 200, json!({"Err": ""})).unwrap(), Ok(json!({"Err": ""})));
    }
}
