//! The control socket: a Unix socket that speaks [`crate::uapi`], for root only.
//!
//! One engine has one socket. A file beside it is locked as long as the engine lives: whoever finds it locked leaves,
//! whoever does not may remove a socket that a dead one has left.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::Failure;
use crate::engine::Engine;
use crate::uapi::{REQUEST_MAX, Refusal};

/// Who asks may take so long between two bytes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 16;

/// The socket, with the lock that makes it the only one.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    listener: UnixListener,
    _lock: File,
}

impl Control {
    /// Opens the socket, in place of one that a dead engine has left.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let lock = lock(path)?;
        Self::bind(path)
            .map(|listener| Self { path: path.to_owned(), listener, _lock: lock })
            .map_err(|error| Failure::Control { path: path.to_owned(), error })
    }

    fn bind(path: &Path) -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Bound under another name, it cannot be reached before it is closed to all but root.
        let aside = beside(path, ".new");
        let _ = fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        fs::set_permissions(&aside, Permissions::from_mode(0o600))?;
        fs::rename(&aside, path)?;
        Ok(listener)
    }

    /// Answers until the process ends.
    pub(crate) fn serve(&self, engine: &Arc<Engine>) {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in self.listener.incoming() {
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (engine, counted) = (Arc::clone(engine), Arc::clone(&open));
            let spawned = std::thread::Builder::new().name("control".into()).spawn(move || {
                if let Err(error) = talk(&stream, &engine) {
                    tracing::debug!(%error, "a control connection ended");
                }
                counted.fetch_sub(1, Ordering::Relaxed);
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Removes the socket.
    pub(crate) fn close(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let failure = |error| Failure::Control { path: path.to_owned(), error };
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside(path, ".lock"));
    let file = file.map_err(failure)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::AlreadyRunning { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failure(error)),
    }
}

/// The file with this ending added to its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// One connection: requests, each ended by an empty line, and their answers.
fn talk(stream: &UnixStream, engine: &Engine) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut request = Zeroizing::new(String::new());
        loop {
            let left = (REQUEST_MAX - request.len()) as u64;
            let before = request.len();
            match (&mut lines).take(left).read_line(&mut request)? {
                0 if left == 0 => return writer.write_all(refused(Refusal::Invalid).as_bytes()),
                0 => return Ok(()),
                _ if request[before..] == *"\n" => break,
                _ => {}
            }
        }
        let answer = Zeroizing::new(engine.answer(&request));
        writer.write_all(answer.as_bytes())?;
    }
}

fn refused(refusal: Refusal) -> String {
    format!("errno={}\n\n", refusal.errno())
}
