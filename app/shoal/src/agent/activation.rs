//! Sockets that the service manager made and holds: `sd_listen_fds(3)`.
//!
//! Docker's calls wait in such a socket while no agent runs, instead of failing, and dockerd finds it however early it
//! starts. Without a service manager the agent makes its sockets itself.

use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

/// The sockets that were handed over, still to be claimed.
#[derive(Debug, Default)]
pub(crate) struct Handed(Vec<UnixListener>);

impl Handed {
    /// Takes what this process was started with. What is no listening Unix socket is left alone, and told.
    ///
    /// Reads the environment and clears it of `LISTEN_*`, so it must be called before any other thread is there.
    pub(crate) fn take() -> Self {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..handed.len() {
            match handed.take_unix_listener(at) {
                Ok(socket) => sockets.extend(socket),
                Err(error) => tracing::warn!(%error, "a descriptor that was handed over is not used"),
            }
        }
        Self(sockets)
    }

    /// The socket at a path, if it was handed over.
    pub(crate) fn claim(&mut self, path: &Path) -> Option<UnixListener> {
        let at = self.0.iter().position(|socket| is_at(socket, path))?;
        Some(self.0.swap_remove(at))
    }

    /// Tells of sockets that nobody has claimed: whoever connects to one of them waits for ever.
    pub(crate) fn tell_unclaimed(&self) {
        for socket in &self.0 {
            let path = socket.local_addr().ok().and_then(|its| its.as_pathname().map(Path::to_path_buf));
            tracing::warn!(
                ?path,
                "the service manager holds a socket that no setting names: give plugin_socket its path, or \
                 change ListenStream in shoal.socket"
            );
        }
    }
}

fn is_at(socket: &UnixListener, path: &Path) -> bool {
    socket.local_addr().is_ok_and(|its| its.as_pathname() == Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_claimed_by_its_path_and_once() {
        let path =
            |name: &str| std::env::temp_dir().join(format!("shoal-handed-{name}-{}", std::process::id()));
        let (first, second) = (path("first"), path("second"));
        let sockets = [&first, &second].map(|path| UnixListener::bind(path).unwrap());
        let mut handed = Handed(sockets.into());
        assert!(handed.claim(&path("third")).is_none());
        let claimed = handed.claim(&second).unwrap();
        assert_eq!(claimed.local_addr().unwrap().as_pathname(), Some(second.as_path()));
        assert!(handed.claim(&second).is_none());
        assert!(handed.claim(&first).is_some());
        for path in [first, second] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn without_a_service_manager_nothing_is_handed_over() {
        assert!(Handed::take().0.is_empty());
    }
}
