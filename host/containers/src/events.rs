//! What happens in the engine, as hints to look again.
//!
//! ```text
//!   follow:  down --ask version--> up: EngineUp --events since then--> stream ends: EngineDown --back-off--> down
//! ```
//!
//! Events may come twice and, around a restart of the engine, not at all: a caller lists everything anew on each
//! [`Event::EngineUp`] and treats every other event as a reason to look at one object.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use shoal_ports::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::convert;
use crate::docker::{CALL_TIME_MAX, connect};

/// How long to wait before the engine is asked again: at first, and at most. It doubles in between.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(3);

/// How far back a new subscription reaches, so that nothing between the listing and the subscription is lost.
const OVERLAP_SECS: u64 = 1;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The engine answers, for the first time or again: list everything.
    EngineUp,
    /// The engine no longer answers. Comes once, also if it never answered.
    EngineDown,
    /// A network was made.
    NetworkCreated {
        /// The network's id.
        id: String,
    },
    /// A network was removed.
    NetworkRemoved {
        /// The network's id.
        id: String,
    },
    /// A container was attached to a network; comes also when an attached container starts.
    NetworkConnected {
        /// The network's id.
        network: String,
        /// The container's id.
        container: String,
    },
    /// A container was detached from a network; comes also when an attached container stops.
    NetworkDisconnected {
        /// The network's id.
        network: String,
        /// The container's id.
        container: String,
    },
    /// A container was made.
    ContainerCreated {
        /// The container's id.
        id: String,
    },
    /// A container was started.
    ContainerStarted {
        /// The container's id.
        id: String,
    },
    /// A container's process ended.
    ContainerDied {
        /// The container's id.
        id: String,
    },
    /// A container was removed.
    ContainerRemoved {
        /// The container's id.
        id: String,
    },
    /// A container has another name.
    ContainerRenamed {
        /// The container's id.
        id: String,
    },
}

/// Events as they come; dropping it ends the subscription.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// How many events wait for a slow reader before the engine's stream is held back.
    pub(crate) const WAITING_MAX: usize = 256;

    pub(crate) fn channel() -> (mpsc::Sender<Event>, Self) {
        let (sender, receiver) = mpsc::channel(Self::WAITING_MAX);
        (sender, Self(receiver))
    }

    /// The next event. `None` only when the engine's runtime ends. Can be cancelled without losing an event.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// Follows the daemon behind `socket` until nobody listens.
pub(crate) async fn follow(socket: String, listener: mpsc::Sender<Event>) {
    tokio::select! {
        _ = keep_watching(&socket, &listener) => {}
        () = listener.closed() => {}
    }
}

/// Watches, connection after connection; ends only when nobody listens any more.
async fn keep_watching(socket: &str, listener: &mpsc::Sender<Event>) -> Option<Infallible> {
    let mut known_down = false;
    let mut wait = BACK_OFF_MIN;
    loop {
        let began = Instant::now();
        if watch_once(socket, listener).await? {
            known_down = false;
            // One that breaks off at once, again and again, must not make the caller list in a tight loop.
            if began.elapsed() > BACK_OFF_MAX {
                wait = BACK_OFF_MIN;
            }
        }
        if !known_down {
            listener.send(Event::EngineDown).await.ok()?;
            known_down = true;
        }
        sleep(wait).await;
        wait = (wait * 2).min(BACK_OFF_MAX);
    }
}

/// Passes on events for as long as one connection lasts; tells whether the engine answered at all. `None` when nobody
/// listens any more.
async fn watch_once(socket: &str, listener: &mpsc::Sender<Event>) -> Option<bool> {
    let since = (SystemClock::start().wall().as_millis() / 1000).saturating_sub(OVERLAP_SECS);
    let Ok(Ok(client)) = timeout(CALL_TIME_MAX, connect(socket)).await else { return Some(false) };
    listener.send(Event::EngineUp).await.ok()?;
    let of_types = ["network", "container"].map(str::to_owned).to_vec();
    let options = EventsOptions {
        since: Some(since.to_string()),
        until: None,
        filters: Some(HashMap::from([("type".to_owned(), of_types)])),
    };
    let mut messages = pin!(client.events(Some(options)));
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => {
                if let Some(event) = convert::event(message) {
                    listener.send(event).await.ok()?;
                }
            }
            Err(error) => {
                tracing::debug!(socket, %error, "the stream of Docker's events broke off");
                break;
            }
        }
    }
    Some(true)
}
