//! Tells the service manager that the agent answers: `sd_notify(3)`, one datagram.
//!
//! Until then the unit is being started, and what is ordered after it (dockerd) waits; an agent that ends before fails
//! its start at once.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells it, if there is a service manager that wants to know. That nobody hears it ends nothing.
pub(crate) fn tell() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket) {
        tracing::warn!(?socket, %error, "the service manager cannot be told that the agent is ready");
    }
}

/// A name that begins with "@" is an abstract one.
fn send(socket: &OsStr) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(address: &SocketAddr, socket: &str) {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        send(OsStr::new(socket)).unwrap();
        let mut heard = [0; 32];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }

    #[test]
    fn the_service_manager_hears_it_on_either_kind_of_socket() {
        let path = std::env::temp_dir().join(format!("shoal-ready-{}", std::process::id()));
        hears(&SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        let name = format!("shoal-ready-{}", std::process::id());
        hears(&SocketAddr::from_abstract_name(&name).unwrap(), &format!("@{name}"));
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_no_wait() {
        assert!(send(OsStr::new("/nonexistent/notify")).is_err());
    }
}
