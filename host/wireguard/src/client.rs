//! The other end of the control socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest answer, bytes: ten thousand peers and more.
const ANSWER_MAX: u64 = 16 << 20;

/// Asks the engine with this control socket, or any that speaks WireGuard's text protocol, and returns its answer with
/// `errno` in the last line. No longer than `patience` passes between two bytes. The request is a whole one, with its
/// empty line; see [`crate::uapi::Change::text`].
///
/// # Errors
/// `NotFound` and `ConnectionRefused` mean that no engine runs.
pub fn ask(control: &Path, request: &str, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
