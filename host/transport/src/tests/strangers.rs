use std::net::UdpSocket;

use quinn::{Connection, Endpoint};

use super::*;
use crate::tls;
use crate::wire::Code;

/// A client of QUIC that knows how to show a key, and nothing of Shoal.
struct Stranger(Endpoint);

impl Stranger {
    fn new() -> Self {
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let crypto = tls::client(&key(66)).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Self(endpoint)
    }

    async fn dial(&self, node: &Node) -> Connection {
        self.0.connect(node.address(), tls::SERVER_NAME).unwrap().await.unwrap()
    }
}

/// Random bytes that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

/// That `node` still serves members.
async fn still_works(node: &mut Node) {
    let other = Node::member(50);
    other.message(node, "fine?");
    assert_eq!(node.message_text().await, "fine?");
}

#[tokio::test]
async fn garbage_packets_do_no_harm() {
    let mut node = Node::member(1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for seed in 0..2_000_u64 {
        let mut bytes = noise(seed, 1 + (seed as usize * 37) % 1_400);
        // Half of them look like QUIC version 1 with a long header.
        if seed % 2 == 0 && bytes.len() > 5 {
            bytes[0] |= 0xc0;
            bytes[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        let _ = socket.send_to(&bytes, node.address());
    }
    still_works(&mut node).await;
}

#[tokio::test]
async fn a_garbage_hello_is_refused_with_a_sentence() {
    let mut node = Node::member(1);
    let stranger = Stranger::new();
    for seed in 1..40 {
        let connection = stranger.dial(&node).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        let body = noise(seed, 200);
        send.write_all(&200_u32.to_be_bytes()).await.unwrap();
        send.write_all(&body).await.unwrap();
        let error = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
        assert_eq!(close.error_code, Code::Refused.number());
        assert!(node.refused().await.0.contains("cannot be read"));
    }
    still_works(&mut node).await;
}

#[tokio::test]
async fn a_hello_that_is_too_long_is_refused_unread() {
    let mut node = Node::member(1);
    let connection = Stranger::new().dial(&node).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&(5_u32 << 10).to_be_bytes()).await.unwrap();
    assert!(node.refused().await.0.contains("5120 bytes is longer than allowed"));
    still_works(&mut node).await;
}

#[tokio::test]
async fn a_stranger_can_open_nothing_but_its_hello() {
    let node = Node::member(1);
    let connection = Stranger::new().dial(&node).await;
    let brief = Duration::from_millis(300);
    assert!(tokio::time::timeout(brief, connection.open_uni()).await.is_err());
    let _hello = connection.open_bi().await.unwrap();
    assert!(tokio::time::timeout(brief, connection.open_bi()).await.is_err());
}

#[tokio::test]
async fn a_flood_of_half_open_hellos_is_bounded_and_passes() {
    let node = Node::start(1, Limits { hello_timeout: Duration::from_secs(2), ..limits() });
    node.enter(&root(), 1);
    let mut node = node;
    let stranger = Stranger::new();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(stranger.0.connect(node.address(), tls::SERVER_NAME).unwrap());
    }
    let mut held = tokio::task::JoinSet::new();
    for connecting in silent {
        held.spawn(async move {
            let connection = connecting.await.ok()?;
            connection.closed().await;
            Some(())
        });
    }
    eventually("dropping", || node.transport.counters().strangers_dropped > 0).await;
    let open = node.transport.shared.endpoint.open_connections();
    assert!(open <= node.transport.shared.config.limits.strangers_max, "{open} at once");
    eventually("the end of the silent ones", || node.transport.counters().strangers_silent >= 64).await;
    held.abort_all();
    drop(stranger);
    assert!(node.transport.counters().strangers_retried > 0);
    eventually("room", || node.transport.shared.strangers.available_permits() > 32).await;
    still_works(&mut node).await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_named() {
    let mut node = Node::member(1);
    let connection = Stranger::new().dial(&node).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 4, 0, 9, 1, 2]).await.unwrap();
    let sentence = node.refused().await.0;
    assert!(sentence.contains("speaks version 9 of the protocol, this one version 1"), "{sentence}");
}

/// Says hello with these bytes as the certificate and waits for a hello in return.
async fn greet(stranger: &Stranger, node: &Node, certificate: Vec<u8>) -> bool {
    use crate::wire::{self, HELLO_BYTES_MAX, Hello, Opening};

    let connection = stranger.dial(node).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let hello = Opening::Hello(Hello { certificate, session: 1 });
    wire::write_opening(&mut send, &hello).await.unwrap();
    wire::read::<Hello>(&mut recv, HELLO_BYTES_MAX).await.is_ok()
}

#[tokio::test]
async fn a_certificate_with_a_flipped_bit_or_of_random_bytes_opens_nothing() {
    let mut node = Node::member(1);
    let stranger = Stranger::new();
    let good = certificate(&root(), 66, node.clock.wall()).encode();
    assert!(greet(&stranger, &node, good.clone()).await, "the good one is accepted");
    for bit in (0..good.len() * 8).step_by(23) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!greet(&stranger, &node, bad).await, "bit {bit}");
        node.refused().await;
    }
    for seed in 1..20 {
        let mut bad = noise(seed, good.len());
        bad[0] = 1;
        assert!(!greet(&stranger, &node, bad).await);
        assert!(node.refused().await.0.contains("cannot be read"));
    }
    still_works(&mut node).await;
}
