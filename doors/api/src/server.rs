//! Answers commands.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::UnixListener;

use crate::{Answer, Command, Failure, FailureKind, ROUTE};

/// Carries commands out; the agent.
pub trait Agent: Send + Sync + 'static {
    /// Carries out one command. May take as long as the command needs; calls run side by side.
    fn call(&self, command: Command) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// Answers commands that arrive at `listener` until `shutdown` ends, then finishes those under way.
///
/// # Errors
/// Only those of the listener itself; a connection that breaks ends alone.
pub async fn serve<A: Agent>(
    listener: UnixListener,
    agent: Arc<A>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new().route(ROUTE, post(answer::<A>)).fallback(elsewhere).with_state(agent);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn answer<A: Agent>(State(agent): State<Arc<A>>, body: Bytes) -> Response {
    let outcome = match serde_json::from_slice::<Command>(&body) {
        Ok(command) => call(&*agent, command).await,
        Err(error) => Err(not_understood(&error)),
    };
    match outcome {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(failure) => json(status_of(failure.kind), &failure),
    }
}

async fn call<A: Agent>(agent: &A, command: Command) -> Result<Answer, Failure> {
    let name = command.name();
    let outcome = agent.call(command).await;
    match &outcome {
        Ok(_) => tracing::debug!(command = name, "command carried out"),
        Err(failure) => tracing::info!(command = name, kind = ?failure.kind, "command failed: {failure}"),
    }
    outcome
}

async fn elsewhere() -> Response {
    let failure = Failure::not_found(format!("the admin API has one route, POST {ROUTE}"));
    json(StatusCode::NOT_FOUND, &failure)
}

fn not_understood(error: &serde_json::Error) -> Failure {
    let hint = concat!(
        "the agent is version ",
        env!("CARGO_PKG_VERSION"),
        "; if `shoal` was upgraded since it started, run `systemctl restart shoal`"
    );
    Failure::user(format!("the agent does not understand this command: {error}")).hint(hint)
}

fn status_of(kind: FailureKind) -> StatusCode {
    StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}
