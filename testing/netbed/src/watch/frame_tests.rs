//! What a frame is taken for.

use super::*;

const ONE: [u8; 4] = [172, 31, 0, 1];
const TWO: [u8; 4] = [172, 31, 0, 2];

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend([ONE, TWO].concat());
    frame.extend(payload);
    frame
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes()].concat();
    datagram.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

fn data(length: usize, fill: u8) -> Vec<u8> {
    let mut message = vec![4, 0, 0, 0, 9, 8, 7, 6];
    message.resize(length, fill);
    message
}

fn plain(frame: &[u8]) -> Kind {
    judge(frame, [].iter())
}

#[test]
fn messages_of_wireguard_are_known_by_type_and_length() {
    let at = |payload: &[u8]| plain(&v4(17, &udp(7375, 7376, payload)));
    for (kind, length) in [(1, 148), (2, 92), (3, 64)] {
        let mut message = vec![0; length];
        message[0] = kind;
        assert_eq!(at(&message), Kind::Known("WireGuard"));
        message.push(0);
        assert!(matches!(at(&message), Kind::Unknown(_)));
    }
    assert_eq!(at(&data(32, 1)), Kind::Known("WireGuard"));
    assert_eq!(at(&[data(1456, 1), data(1456, 2), data(48, 3)].concat()), Kind::Known("WireGuard"));
    assert_eq!(at(&data(1452, 1)), Kind::Known("WireGuard"), "padding ends at the MTU");
    assert!(matches!(at(&data(31, 1)), Kind::Unknown(_)));
    assert!(matches!(at(&data(20_000, 1)), Kind::Unknown(_)), "too long to be one message");
    assert!(matches!(at(&[data(1456, 1), data(1456, 2), vec![7; 1456]].concat()), Kind::Unknown(_)));
    assert!(matches!(at(&[8, 0, 0, 0, 0, 0, 5, 0]), Kind::Unknown(_)), "VXLAN at WireGuard's port");
}

#[test]
fn what_belongs_on_the_loopback_device_is_a_violation_whatever_it_carries() {
    let mut frame = v4(17, &udp(7375, 7377, &data(64, 1)));
    assert_eq!(plain(&frame), Kind::Known("WireGuard"));
    frame[14 + 16..14 + 20].copy_from_slice(&[127, 1, 2, 3]);
    assert!(matches!(plain(&frame), Kind::Unknown(_)));
}

#[test]
fn vxlan_in_clear_is_a_violation_unless_its_network_was_declared() {
    let frame = v4(17, &udp(50000, 7374, &[8, 0, 0, 0, 0, 0, 5, 0, 1, 2, 3]));
    assert_eq!(plain(&frame), Kind::Unknown("VXLAN in clear"));
    let declared = [Allow::Clear { vni: 6 }, Allow::Clear { vni: 5 }];
    assert_eq!(judge(&frame, declared.iter()), Kind::Declared(1));
}

#[test]
fn an_error_message_is_judged_by_what_it_quotes() {
    let error = |quoted: &[u8]| v4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], quoted].concat());
    assert_eq!(plain(&error(&v4(17, &udp(7373, 7373, &[0; 40]))[14..])), Kind::Known("unreachable"));
    assert_eq!(plain(&error(&v4(17, &udp(7375, 7375, &[4, 0]))[14..])), Kind::Known("unreachable"));
    assert_eq!(
        plain(&error(&v4(17, &udp(5, 53, &[0; 40]))[14..])),
        Kind::Unknown("ICMP that nobody declared")
    );
}

#[test]
fn pings_pass_only_between_the_two_that_were_declared() {
    let frame = v4(1, &[8, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(plain(&frame), Kind::Unknown("ICMP that nobody declared"));
    assert_eq!(judge(&frame, [Allow::Pings(TWO.into(), ONE.into())].iter()), Kind::Declared(0));
    let others = [Allow::Pings(ONE.into(), [172, 31, 0, 3].into())];
    assert!(matches!(judge(&frame, others.iter()), Kind::Unknown(_)));
}

#[test]
fn tcp_fragments_tags_and_what_is_cut_short_are_violations() {
    assert_eq!(plain(&v4(6, &[0; 20])), Kind::Unknown("IP of another protocol"));
    let mut fragment = v4(17, &udp(7373, 7373, &[0; 40]));
    fragment[14 + 6] = 0x20;
    assert!(matches!(plain(&fragment), Kind::Unknown(_)));
    let mut tagged = vec![2; 12];
    tagged.extend([0x81, 0, 0, 1, 8, 6]);
    assert!(matches!(plain(&tagged), Kind::Unknown(_)));
    for length in 0..60 {
        let whole = v4(17, &udp(7373, 7373, &[0; 40]));
        let _ = plain(&whole[..length]);
    }
}
