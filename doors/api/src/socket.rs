//! The socket itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: {reason}", path = path.display())]
pub struct ListenError {
    /// The socket.
    pub path: PathBuf,
    /// What stands in the way.
    pub reason: String,
}

/// Makes a Unix socket that only its owner may open (mode 0600), and its folder if there is none. One that was left
/// behind is replaced; one on which somebody answers is not.
///
/// The socket is made beside its place and renamed into it, so there is no moment at which others may open it. Must
/// be called within a Tokio runtime. Nothing removes the socket at the end: the next start replaces it.
///
/// # Errors
/// [`ListenError`]
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let refused = |reason: String| ListenError { path: path.to_owned(), reason };
    if UnixStream::connect(path).is_ok() {
        return Err(refused("another process answers on it".to_owned()));
    }
    make_quietly(path).map_err(|error| refused(error.to_string()))
}

fn make_quietly(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}

/// A name in the same folder: a socket's path may hold 107 bytes, so it is kept short.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("~");
    path.with_file_name(name)
}
