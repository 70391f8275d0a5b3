//! Stands in for the process that encrypts in user space: it carries frames from one TAP device to another over UDP, in
//! clear, and answers for it over the control socket. It asks for no offloads, so the kernel cuts and sums first.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

/// `struct virtio_net_hdr`, before each frame; all zero says that nothing is left to do.
const HEADER: usize = 10;

/// Keys and values of one end, in the protocol's own words.
type Words = BTreeMap<String, String>;

#[derive(Default)]
struct State {
    own: Words,
    peers: BTreeMap<String, Words>,
    socket: Option<UdpSocket>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1].as_str()
    };
    let (tap, state) = (open_tap(value("--device")), Arc::new(Mutex::new(State::default())));
    let listener = UnixListener::bind(value("--control")).unwrap();
    let (from_tap, known) = (tap.try_clone().unwrap(), Arc::clone(&state));
    std::thread::spawn(move || send_frames(from_tap, &known));
    for stream in listener.incoming() {
        // Who connects only to see whether somebody listens closes at once.
        let _ = serve(&state, &tap, &mut stream.unwrap());
    }
}

mod ioctls {
    #![allow(unsafe_code, missing_docs, reason = "ioctls of tun have no safe wrapper")]
    nix::ioctl_write_ptr_bad!(set_device, nix::request_code_write!(b'T', 202, 4), [u8; 40]);
}

/// Opens a queue of a device that the agent has made: IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR.
#[allow(unsafe_code, reason = "see ioctls")]
fn open_tap(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&0x5102_u16.to_ne_bytes());
    // SAFETY: the request has the size of `struct ifreq` and outlives the call.
    unsafe { ioctls::set_device(file.as_raw_fd(), &raw const request) }.unwrap();
    file
}

/// Sends each frame to the end whose address its destination names.
fn send_frames(mut tap: File, state: &Mutex<State>) {
    let mut frame = [0; HEADER + 2048];
    while let Ok(length) = tap.read(&mut frame) {
        let allowed = format!("{}.{}.{}.{}/32", frame[12], frame[13], frame[14], frame[15]);
        let state = state.lock().unwrap();
        let peer = state.peers.values().find(|words| words.get("allowed_ip") == Some(&allowed));
        let endpoint = peer.and_then(|words| words.get("endpoint")?.parse::<SocketAddr>().ok());
        if let (Some(socket), Some(endpoint)) = (&state.socket, endpoint) {
            let _ = socket.send_to(&frame[HEADER..length], endpoint);
        }
    }
}

/// Hands on what arrives, with the sender's address as the other end's.
fn receive_frames(socket: &UdpSocket, mut tap: File, state: &Mutex<State>) {
    let mut frame = [0; HEADER + 2048];
    while let Ok((length, from)) = socket.recv_from(&mut frame[HEADER..]) {
        let state = state.lock().unwrap();
        let is_sender = |words: &&Words| words.get("endpoint") == Some(&from.to_string());
        let sender = state.peers.values().find(is_sender);
        let address = sender.and_then(|words| words.get("allowed_ip")?.strip_suffix("/32"));
        if let Some(address) = address.and_then(|text| text.parse::<std::net::Ipv4Addr>().ok()) {
            frame[12..16].copy_from_slice(&address.octets());
            let _ = tap.write(&frame[..HEADER + length]);
        }
    }
}

fn serve(state: &Arc<Mutex<State>>, tap: &File, stream: &mut UnixStream) -> std::io::Result<()> {
    let (mut request, mut part) = (String::new(), [0; 4096]);
    while !request.ends_with("\n\n") {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Ok(());
        }
        request.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    let answer = match request.strip_prefix("set=1\n") {
        Some(lines) => {
            set(state, tap, lines);
            String::new()
        }
        None => told(&state.lock().unwrap()),
    };
    stream.write_all(format!("{answer}errno=0\n\n").as_bytes())
}

fn set(state: &Arc<Mutex<State>>, tap: &File, lines: &str) {
    let mut peer = None;
    for (key, value) in lines.lines().filter_map(|line| line.split_once('=')) {
        let mut known = state.lock().unwrap();
        match (key, &peer) {
            ("public_key", _) => {
                known.peers.entry(value.to_owned()).or_default();
                peer = Some(value.to_owned());
            }
            ("remove", Some(peer)) => drop(known.peers.remove(peer)),
            (_, Some(peer)) => {
                known.peers.entry(peer.clone()).or_default().insert(key.to_owned(), value.to_owned());
            }
            (_, None) => {
                known.own.insert(key.to_owned(), value.to_owned());
            }
        }
        if key == "listen_port" {
            let socket = UdpSocket::bind(("0.0.0.0", value.parse().unwrap())).unwrap();
            known.socket = Some(socket.try_clone().unwrap());
            let (tap, state) = (tap.try_clone().unwrap(), Arc::clone(state));
            std::thread::spawn(move || receive_frames(&socket, tap, &state));
        }
    }
}

fn told(state: &State) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value}\n");
    let mut text: String = state.own.iter().map(line).collect();
    for (peer, words) in &state.peers {
        text += &format!("public_key={peer}\n");
        text.extend(words.iter().map(line));
        text += "rx_bytes=7\ntx_bytes=8\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n";
    }
    text
}
