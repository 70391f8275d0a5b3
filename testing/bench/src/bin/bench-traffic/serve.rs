//! The serving half of a worker: one listener for each kind of work.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::{MESSAGE, Outcome, port};

/// Threads that take connections of the `connect` work: as many as connect.
pub(crate) const CONNECTORS: usize = 4;

/// Listens on every port, for both address families, and serves until the process ends.
pub(crate) fn start() -> Outcome {
    each_connection(port::STREAM, drain)?;
    each_connection(port::ECHO, echo)?;
    connections()?;
    datagrams()?;
    hellos()
}

/// Runs `serve` for each connection in a thread of its own.
fn each_connection(port: u16, serve: fn(TcpStream) -> std::io::Result<()>) -> Outcome {
    let listener = TcpListener::bind(("::", port))?;
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            // The other end sees that the connection has ended, and says so.
            thread::spawn(move || drop(serve(peer)));
        }
    });
    Ok(())
}

/// Takes everything, then tells how many bytes it was.
fn drain(mut peer: TcpStream) -> std::io::Result<()> {
    let (mut piece, mut bytes) = (vec![0; 1 << 17], 0u64);
    while let count @ 1.. = peer.read(&mut piece)? {
        bytes += count as u64;
    }
    peer.write_all(&bytes.to_le_bytes())
}

fn echo(mut peer: TcpStream) -> std::io::Result<()> {
    peer.set_nodelay(true)?;
    let mut message = [0; MESSAGE];
    loop {
        peer.read_exact(&mut message)?;
        peer.write_all(&message)?;
    }
}

/// Each connection brings one byte and is closed here.
fn connections() -> Outcome {
    let listener = TcpListener::bind(("::", port::CONNECT))?;
    for _ in 0..CONNECTORS {
        let listener = listener.try_clone()?;
        thread::spawn(move || {
            for mut peer in listener.incoming().flatten() {
                // A connection without its byte is counted as failed by who made it.
                let _ = peer.read(&mut [0; 1]);
            }
        });
    }
    Ok(())
}

/// Counts datagrams; whoever connects is told how many have come.
fn datagrams() -> Outcome {
    let socket = UdpSocket::bind(("::", port::DATAGRAMS))?;
    setsockopt(&socket, sockopt::RcvBuf, &shoal_netbed::RECEIVE_BUFFER)?;
    let counted = Arc::new(AtomicU64::new(0));
    let told = counted.clone();
    thread::spawn(move || {
        let mut piece = [0; 2048];
        while socket.recv(&mut piece).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let listener = TcpListener::bind(("::", port::DATAGRAMS))?;
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let _ = peer.write_all(&told.load(Ordering::Relaxed).to_le_bytes());
        }
    });
    Ok(())
}

fn hellos() -> Outcome {
    let socket = UdpSocket::bind(("::", port::HELLO))?;
    thread::spawn(move || {
        let mut piece = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut piece) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&piece[..length], from);
        }
    });
    Ok(())
}
