use proptest::prelude::*;

use std::time::Duration;

use super::*;

fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

#[test]
fn a_set_of_wg_is_read() {
    let text = format!(
        "set=1\nprivate_key={}\nlisten_port=7375\nfwmark=0\nreplace_peers=true\npublic_key={}\npreshared_key={}\n\
         endpoint=[2001:db8::1]:51820\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\n\
         allowed_ip=240.0.0.2/32\npublic_key={}\nremove=true\n\n",
        key(1),
        key(2),
        key(0),
        key(3)
    );
    let Ok(Request::Set(change)) = parse(&text) else { panic!("{:?}", parse(&text)) };
    assert_eq!((change.port, change.replace_peers), (Some(7375), true));
    assert_eq!(change.private, Some(Some(WireGuardSecret::new([1; 32]))));
    let first = PeerChange {
        preshared: Some(None),
        endpoint: Some("[2001:db8::1]:51820".parse().unwrap()),
        keepalive: Some(25),
        replace_address: true,
        address: Some(Ipv4Addr::new(240, 0, 0, 2)),
        ..PeerChange::new(WireGuardKey::new([2; 32]))
    };
    let second = PeerChange { remove: true, ..PeerChange::new(WireGuardKey::new([3; 32])) };
    assert_eq!(change.peers, [first, second]);
}

#[test]
fn what_is_not_understood_is_refused_whole() {
    for line in [
        "private_key=00",
        "listen_port=65536",
        "fwmark=1",
        "shoal_mtu=100",
        "endpoint=1.2.3.4:5",
        "nonsense=1",
        "public_key",
        "replace_peers=yes",
    ] {
        assert_eq!(parse(&format!("set=1\n{line}\n\n")), Err(Refusal::Invalid), "{line}");
    }
    for line in ["allowed_ip=10.0.0.0/8", "allowed_ip=::1/128", "endpoint=host:1", "protocol_version=2"] {
        let text = format!("set=1\npublic_key={}\n{line}\n\n", key(2));
        assert_eq!(parse(&text), Err(Refusal::Invalid), "{line}");
    }
    assert_eq!(parse("put=1\n\n"), Err(Refusal::Unknown));
    assert_eq!(parse(""), Err(Refusal::Unknown));
}

#[test]
fn a_get_tells_what_wg_shows() {
    let state = DeviceState {
        private: Some(WireGuardSecret::new([1; 32])),
        port: Some(7375),
        peers: vec![PeerState {
            key: WireGuardKey::new([2; 32]),
            preshared: None,
            endpoint: Some("192.0.2.1:7375".parse().unwrap()),
            keepalive: None,
            last_handshake: Some(Duration::new(5, 6)),
            received: 7,
            sent: 8,
            address: Some(Ipv4Addr::new(240, 0, 0, 2)),
        }],
    };
    let expected = format!(
        "private_key={}\nlisten_port=7375\npublic_key={}\npreshared_key={}\nprotocol_version=1\n\
         endpoint=192.0.2.1:7375\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\ntx_bytes=8\nrx_bytes=7\n\
         persistent_keepalive_interval=0\nallowed_ip=240.0.0.2/32\n",
        key(1),
        key(2),
        key(0)
    );
    assert_eq!(state.text(), expected);
    assert_eq!(DeviceState::parse(&format!("{expected}errno=0\n\n")), Ok(state));
}

#[test]
fn an_answer_that_says_nothing_is_an_error() {
    assert_eq!(DeviceState::parse("errno=71\n\n"), Err(Unanswered::Refused(71)));
    assert_eq!(DeviceState::parse("listen_port=7375\n"), Err(Unanswered::Malformed), "it is cut short");
    assert_eq!(DeviceState::parse("listen_port=x\nerrno=0\n"), Err(Unanswered::Malformed));
    let empty = DeviceState { private: None, port: None, peers: Vec::new() };
    assert_eq!(DeviceState::parse("fwmark=0\nerrno=0\n\n"), Ok(empty));
}

proptest! {
    #[test]
    fn a_change_that_is_written_is_read_back(
        private in proptest::option::of(any::<[u8; 32]>()), port: Option<u16>, replace_peers: bool,
        keys in proptest::collection::vec(any::<([u8; 32], bool, bool, Option<u16>, Option<u32>)>(), 0..4),
    ) {
        let secret = |bytes: [u8; 32]| (bytes != [0; 32]).then(|| WireGuardSecret::new(bytes));
        let peers = keys.into_iter().map(|(key, remove, update_only, keepalive, address)| PeerChange {
            remove, update_only, keepalive, address: address.map(Ipv4Addr::from),
            ..PeerChange::new(WireGuardKey::new(key))
        });
        let change = Change { private: private.map(secret), port, mtu: None, replace_peers, peers: peers.collect() };
        prop_assert_eq!(parse(&change.text()), Ok(Request::Set(change)));
    }

    #[test]
    fn any_text_is_read_without_harm(text in "(set=1\n|get=1\n)?([a-z_]{0,12}=?[0-9a-f:./]{0,70}\n){0,5}") {
        let _ = parse(&text);
        let _ = DeviceState::parse(&text);
    }
}
