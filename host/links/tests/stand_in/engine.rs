//! Stands in for the process that encrypts in user space: it remembers what it is told over the control socket, and
//! encrypts nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Keys and values in the protocol's own words.
#[derive(Default)]
struct State {
    own: BTreeMap<String, String>,
    peers: BTreeMap<String, BTreeMap<String, String>>,
    allowed: BTreeMap<String, String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1].as_str()
    };
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let device = format!("{}:", value("--device"));
    assert!(devices.split_whitespace().any(|word| word == device), "there is no device {device}");
    assert_eq!(std::env::vars().count(), 0, "the environment leaks");
    // Whoever runs tests may leave pipes open, but sockets and namespaces would be the agent's.
    for file in std::fs::read_dir("/proc/self/fd").unwrap() {
        let Ok(file) = std::fs::read_link(file.unwrap().path()) else { continue };
        let file = file.display().to_string();
        assert!(
            !file.starts_with("socket:") && !file.starts_with("net:") && !file.contains("/net/tun"),
            "{file} leaks"
        );
    }
    let _: std::net::Ipv4Addr = value("--address").parse().unwrap();
    let listener = UnixListener::bind(value("--control")).unwrap();
    let mut state = State::default();
    for stream in listener.incoming() {
        // Who connects only to see whether somebody listens closes at once.
        let _ = serve(&mut state, &mut stream.unwrap());
    }
}

fn serve(state: &mut State, stream: &mut UnixStream) -> std::io::Result<()> {
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
            state.set(lines);
            String::new()
        }
        None => state.told(),
    };
    stream.write_all(format!("{answer}errno=0\n\n").as_bytes())
}

impl State {
    fn set(&mut self, lines: &str) {
        let mut peer = None;
        for (key, value) in lines.lines().filter_map(|line| line.split_once('=')) {
            let (key, value) = (key.to_owned(), value.to_owned());
            match (key.as_str(), &peer) {
                ("public_key", _) => {
                    self.peers.entry(value.clone()).or_default();
                    peer = Some(value);
                }
                ("remove", Some(peer)) => {
                    self.peers.remove(peer);
                    self.allowed.retain(|_, owner| owner != peer);
                }
                ("allowed_ip", Some(peer)) => {
                    self.allowed.insert(value, peer.clone());
                }
                (_, Some(peer)) => {
                    self.peers.get_mut(peer).unwrap().insert(key, value);
                }
                (_, None) => {
                    self.own.insert(key, value);
                }
            }
        }
    }

    fn told(&self) -> String {
        let line = |(key, value): (&String, &String)| format!("{key}={value}\n");
        let mut text: String = self.own.iter().map(line).collect();
        for (peer, settings) in &self.peers {
            text += &format!("public_key={peer}\n");
            text.extend(settings.iter().map(line));
            let own = self.allowed.iter().filter(|(_, owner)| *owner == peer);
            text.extend(own.map(|(address, _)| format!("allowed_ip={address}\n")));
            text += "rx_bytes=7\ntx_bytes=8\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n";
        }
        text
    }
}
