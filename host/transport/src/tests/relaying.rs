use std::net::{Ipv4Addr, SocketAddrV4};

use shoal_plan::{RelayPlan, RelayedEnd};
use tokio::net::UdpSocket;

use super::*;

/// A member with an encrypted end: a socket that says what it is told and shows what it hears.
struct Ended {
    node: Node,
    end: UdpSocket,
    relay_port: u16,
    /// Where others find the end on their loopback devices.
    address: Ipv4Addr,
}

impl Ended {
    async fn member(number: u8) -> Self {
        let (node, address) = (Node::member(number), Ipv4Addr::new(127, 99, 0, number));
        let end = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relay_port = own_port();
        node.transport.open_relay(relay_port).unwrap();
        Self { node, end, relay_port, address }
    }

    /// Learns of another's end, to which packets go through the agents of `via`.
    fn learn(&self, other: &Self, via: &[&Node], direct: &[SocketAddr]) {
        let end = RelayedEnd {
            address: other.address,
            via: via.iter().map(|it| (it.id(), vec![it.address()])).collect(),
            direct: direct.to_vec(),
        };
        self.node.transport.set_relay_plan(RelayPlan {
            own: [(0, self.end.local_addr().unwrap().port())].into(),
            ends: [((other.node.id(), 0), end)].into(),
            homes: via.iter().map(|it| (it.id(), vec![it.address()])).collect(),
        });
    }

    async fn say(&self, to: &Self, packet: &[u8]) {
        let place = SocketAddrV4::new(to.address, self.relay_port);
        self.end.send_to(packet, place).await.unwrap();
    }

    async fn hear(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 2_000];
        let heard = tokio::time::timeout(PATIENCE, self.end.recv_from(&mut buffer)).await;
        let (length, from) = heard.expect("a packet comes").unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    async fn says_until_heard(&self, to: &Self, packet: &[u8]) -> SocketAddr {
        let said = async {
            loop {
                self.say(to, packet).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = said => unreachable!("it goes on for ever"),
            (heard, from) = to.hear() => {
                assert_eq!(heard, packet);
                from
            }
        }
    }
}

#[tokio::test]
async fn packets_of_two_ends_pass_over_the_connection_of_their_agents() {
    let (a, b) = (Ended::member(1).await, Ended::member(2).await);
    a.learn(&b, &[&b.node], &[]);
    b.learn(&a, &[&a.node], &[]);
    let from = a.says_until_heard(&b, b"\x04sealed").await;
    assert_eq!(from, SocketAddrV4::new(a.address, b.relay_port).into(), "an answer goes back to there");
    b.says_until_heard(&a, b"\x04answer").await;
    assert_eq!(a.node.transport.relayed_by(b.node.id()), Some(b.node.id()));
}

#[tokio::test]
async fn a_third_member_passes_on_and_one_without_a_way_is_left_out() {
    let (a, b) = (Ended::member(1).await, Ended::member(2).await);
    let (lonely, home) = (Ended::member(3).await, Ended::member(4).await);
    // The first has no connection to b; nothing in its plan asks for one.
    a.learn(&b, &[&lonely.node, &home.node], &[]);
    b.learn(&a, &[&home.node], &[]);
    a.says_until_heard(&b, b"\x04sealed").await;
    assert_eq!(a.node.transport.relayed_by(b.node.id()), Some(home.node.id()));
    assert!(home.node.transport.relay_traffic().passed_on > 0);
    assert!(lonely.node.transport.counters().relay_without_way > 0);

    // The relay goes: nothing arrives, and what is lost is counted.
    home.node.transport.shutdown().await;
    eventually("packets without a way are counted", || {
        let place = SocketAddrV4::new(b.address, a.relay_port);
        let _ = a.end.try_send_to(b"\x04lost", place.into());
        a.node.transport.counters().relay_without_way > 0
    })
    .await;
}

#[tokio::test]
async fn only_this_hosts_ends_are_served_and_only_known_ones_are_heard() {
    let (a, b) = (Ended::member(1).await, Ended::member(2).await);
    a.learn(&b, &[&b.node], &[]);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let place = SocketAddrV4::new(b.address, a.relay_port);
    stranger.send_to(b"\x04let me in", place).await.unwrap();
    eventually("a stranger is counted", || a.node.transport.counters().relay_strangers == 1).await;

    // b knows no end of a.
    eventually("a packet of an unknown end is counted", || {
        let _ = a.end.try_send_to(b"\x04sealed", place.into());
        b.node.transport.counters().relay_unknown > 0
    })
    .await;
    assert_eq!(b.node.transport.relay_traffic().delivered, 0);
}

#[tokio::test]
async fn root_handshakes_and_some_packets_are_copied_to_where_the_other_end_may_be() {
    let (a, b) = (Ended::member(1).await, Ended::member(2).await);
    let places = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("[::1]:0").await.unwrap()];
    let direct: Vec<SocketAddr> = places.iter().map(|place| place.local_addr().unwrap()).collect();
    a.learn(&b, &[&b.node], &direct);
    a.say(&b, b"\x01initiation").await;
    let port = a.end.local_addr().unwrap().port();
    for place in places {
        let mut buffer = [0; 64];
        let copy = tokio::time::timeout(PATIENCE, place.recv_from(&mut buffer)).await;
        let (length, from) = copy.expect("a copy comes").unwrap();
        assert_eq!(
            (&buffer[..length], from.port()),
            (&b"\x01initiation"[..], port),
            "as if by the end itself"
        );
    }
}
