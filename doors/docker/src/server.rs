//! The server: one answer for every request, in time.

use std::future::IntoFuture;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::Value;
use shoal_networks::Verb;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::field::{Fields, shorten};
use crate::wire::{self, Call};
use crate::{BODY_BYTES_MAX, Handler, Settings, encode};

/// The plugin API's content type.
const PLUGIN_JSON: &str = "application/vnd.docker.plugins.v1.1+json";

/// How much longer than a call's deadline open connections may take to end at shutdown.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// What a request comes to: a status and a JSON body.
type Outcome = (StatusCode, Value);

/// Answers dockerd on `listener` until `shutdown` completes; then no new connection is taken and calls that are under
/// way are answered, for at most the deadline and a second.
///
/// # Errors
/// The listener's, if it cannot be served. Failing connections are no error.
pub async fn serve(
    listener: UnixListener,
    handler: Arc<dyn Handler>,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let answering = move |request: Request| {
        let handler = Arc::clone(&handler);
        async move { respond(handler, settings, request).await }
    };
    let (stopping, mut stopped) = watch::channel(());
    let server =
        axum::serve(listener, Router::new().fallback(answering)).with_graceful_shutdown(async move {
            shutdown.await;
            drop(stopping);
        });
    // A connection whose request never becomes complete would otherwise hold the shutdown up for ever.
    let overdue = async move {
        while stopped.changed().await.is_ok() {}
        sleep(settings.deadline + CLOSING_TIME).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = overdue => Ok(()),
    }
}

/// Answers one request and says so.
async fn respond(handler: Arc<dyn Handler>, settings: Settings, request: Request) -> Response {
    let started = Instant::now();
    let name = shorten(request.uri().path().trim_start_matches('/'));
    let (status, value) = outcome(handler, &name, started + settings.deadline, request).await;
    let took_ms = started.elapsed().as_millis();
    tracing::debug!(verb = name, status = status.as_u16(), took_ms, "answered dockerd");
    if let Some(sentence) = value.get("Err").and_then(Value::as_str) {
        tracing::info!(verb = name, status = status.as_u16(), took_ms, "refused: {sentence}");
    }
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLUGIN_JSON));
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        // The rest of the body is not waited for.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a request comes to, in the order in which it can fail; known at the moment `by`.
async fn outcome(handler: Arc<dyn Handler>, name: &str, by: Instant, request: Request) -> Outcome {
    if request.method() != Method::POST {
        return failed(StatusCode::METHOD_NOT_ALLOWED, "Docker plugin calls are POST requests");
    }
    let Some(call) = wire::call(request.uri().path()) else {
        return failed(StatusCode::NOT_FOUND, format!("Shoal does not implement {name}"));
    };
    let body = match timeout_at(by, to_bytes(request.into_body(), BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let limit =
                format!("{name}: the request's body broke off or is longer than {BODY_BYTES_MAX} bytes");
            return failed(StatusCode::PAYLOAD_TOO_LARGE, limit);
        }
        Err(_) => {
            let late = format!("{name}: the request's body did not arrive in time");
            return failed(StatusCode::REQUEST_TIMEOUT, late);
        }
    };
    match call {
        Call::Fixed(value) => (StatusCode::OK, value),
        Call::Refused(sentence) => failed(StatusCode::INTERNAL_SERVER_ERROR, sentence),
        Call::Decide(parse) => match Fields::of_body(&body).and_then(|fields| parse(&fields)) {
            Ok(verb) => decide(handler, name, by, verb).await,
            Err(malformed) => failed(StatusCode::BAD_REQUEST, malformed.to_string()),
        },
    }
}

/// Lets the handler decide, on a task of its own: neither dockerd's impatience nor the deadline may leave a verb half
/// done, and a panic stays one call's.
async fn decide(handler: Arc<dyn Handler>, name: &str, by: Instant, verb: Verb) -> Outcome {
    let asked = verb.clone();
    let task = tokio::spawn(async move { handler.call(verb).await });
    let sentence = match timeout_at(by, task).await {
        Ok(Ok(Ok(reply))) if encode::fits(&asked, &reply) => return (StatusCode::OK, encode::reply(reply)),
        Ok(Ok(Ok(_))) => format!("{name}: the agent gave an answer of the wrong kind; please report this"),
        Ok(Ok(Err(refusal))) => refusal.to_string(),
        Ok(Err(_)) => format!("{name}: the agent failed inside; see its log (journalctl -u shoal)"),
        Err(_) => format!(
            "{name}: the agent did not decide in time; see its log (journalctl -u shoal) and try again"
        ),
    };
    failed(StatusCode::INTERNAL_SERVER_ERROR, sentence)
}

fn failed(status: StatusCode, sentence: impl AsRef<str>) -> Outcome {
    (status, encode::failure(sentence.as_ref()))
}
