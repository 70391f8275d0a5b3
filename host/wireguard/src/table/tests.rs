use shoal_types::WireGuardSecret;

use super::*;

const A: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 2);

fn key(byte: u8) -> WireGuardKey {
    WireGuardKey::new([byte; 32])
}

fn peer(byte: u8, address: Ipv4Addr) -> PeerChange {
    PeerChange { address: Some(address), ..PeerChange::new(key(byte)) }
}

fn with(peers: &[PeerChange]) -> Change {
    Change { peers: peers.to_vec(), ..Change::default() }
}

fn table() -> Table {
    let private = Some(Some(WireGuardSecret::new([9; 32])));
    let change = Change { private, ..with(&[peer(1, A), peer(2, B)]) };
    Table::new(1420, 5, SystemClock::start()).changed(&change).0
}

#[test]
fn peers_are_found_by_address_index_and_key() {
    let table = table();
    let one = table.by_key(&key(1)).unwrap();
    assert_eq!(table.by_address(A).unwrap().key, key(1));
    assert_eq!(table.by_index(one.slot << 8 | 77).unwrap().key, key(1));
    assert!(table.by_address(Ipv4Addr::new(240, 0, 0, 3)).is_none() && table.by_index(0).is_none());
}

#[test]
fn a_change_leaves_other_peers_the_same() {
    let before = table();
    let (after, changed) = before.changed(&with(&[PeerChange { remove: true, ..PeerChange::new(key(1)) }]));
    assert!(after.by_key(&key(1)).is_none() && after.by_address(A).is_none());
    assert!(Arc::ptr_eq(before.by_key(&key(2)).unwrap(), after.by_key(&key(2)).unwrap()));
    assert_eq!(changed.gone.len(), 1);
    assert!(changed.begun.is_empty(), "the other session goes on");
}

#[test]
fn an_address_moves_to_whom_it_is_given_last() {
    let (after, _) = table().changed(&with(&[peer(2, A)]));
    assert_eq!(after.by_address(A).unwrap().key, key(2));
    assert!(after.by_address(B).is_none());
    assert_eq!(after.by_key(&key(1)).unwrap().address(), None);
}

#[test]
fn replacing_removes_who_is_not_named() {
    let change = Change { replace_peers: true, ..with(&[peer(2, B), peer(3, A)]) };
    let (after, changed) = table().changed(&change);
    let keys: Vec<_> = after.peers().iter().map(|peer| peer.key).collect();
    assert_eq!(keys, [key(2), key(3)]);
    assert_eq!((changed.gone[0].key, changed.begun[0].key), (key(1), key(3)));
}

#[test]
fn update_only_makes_nobody() {
    let (after, _) = table().changed(&with(&[PeerChange { update_only: true, ..peer(7, A) }]));
    assert!(after.by_key(&key(7)).is_none());
    assert_eq!(after.by_address(A).unwrap().key, key(1));
}

#[test]
fn a_new_private_key_begins_all_sessions_anew_and_the_same_one_none() {
    let private =
        |byte| Change { private: Some(Some(WireGuardSecret::new([byte; 32]))), ..Change::default() };
    assert!(table().changed(&private(9)).1.begun.is_empty());
    assert_eq!(table().changed(&private(8)).1.begun.len(), 2);
}

#[test]
fn a_new_pre_shared_key_begins_one_session_anew() {
    let preshared = Some(Some(WireGuardSecret::new([4; 32])));
    let change = with(&[PeerChange { preshared, ..PeerChange::new(key(1)) }]);
    let (after, changed) = table().changed(&change);
    assert_eq!(changed.begun.iter().map(|peer| peer.key).collect::<Vec<_>>(), [key(1)]);
    assert!(after.changed(&change).1.begun.is_empty(), "the same again changes nothing");
}

#[test]
fn this_end_is_no_peer_of_itself() {
    let own = Identity::new(WireGuardSecret::new([9; 32])).key();
    let (after, _) = table().changed(&with(&[PeerChange::new(own)]));
    assert!(after.by_key(&own).is_none());
}
