use super::*;

/// Has `a` send to `b` and returns the sentences of `a` and `b`, which must both tell of a refusal by `b`.
async fn refused_by_b(a: &mut Node, b: &mut Node) -> String {
    a.message(b, "never read");
    let (there, by_us) = a.refused().await;
    assert!(!by_us, "b refuses: {there}");
    let (here, by_us) = b.refused().await;
    assert!(by_us, "b refuses: {here}");
    assert_eq!(there, here);
    assert!(b.transport.peers().iter().all(|peer| !peer.connected));
    here
}

#[tokio::test]
async fn a_member_of_a_foreign_fabric_is_refused_with_a_sentence_on_both_sides() {
    let other = FabricRoot::from_seed([201; 32]);
    let (mut a, mut b) = (Node::member_of(&other, 1), Node::member(2));
    let sentence = refused_by_b(&mut a, &mut b).await;
    assert!(
        sentence.starts_with(&format!("host-1 ({}) belongs to another fabric", a.id().short())),
        "{sentence}"
    );
    eventually("the note", || a.transport.peers()[0].last_error.as_deref() == Some(&sentence)).await;
}

#[tokio::test]
async fn a_forged_certificate_is_refused_with_a_sentence_on_both_sides() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    let mut forged = certificate(&root(), 1, a.clock.wall());
    forged.name = "host-7".parse().unwrap();
    a.transport.set_membership(Some(Member { certificate: forged, root: None }));
    let sentence = refused_by_b(&mut a, &mut b).await;
    assert!(sentence.contains("is not signed by the issuer it names"), "{sentence}");
}

#[tokio::test]
async fn a_stolen_certificate_is_refused_with_a_sentence_on_both_sides() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    let stolen = certificate(&root(), 3, a.clock.wall());
    a.transport.set_membership(Some(Member { certificate: stolen, root: None }));
    let sentence = refused_by_b(&mut a, &mut b).await;
    assert!(sentence.contains("which is not its own"), "{sentence}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_a_sentence_on_both_sides() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    b.clock.advance(10 * DAY);
    b.enter(&root(), 2);
    let sentence = refused_by_b(&mut a, &mut b).await;
    assert!(sentence.ends_with("ended 3 days ago: run `shoal join` there again"), "{sentence}");
}

#[tokio::test]
async fn the_host_that_dials_refuses_too() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    let mut view = view(&root(), &[1]);
    view.root_public = FabricRoot::from_seed([77; 32]).public();
    a.transport.set_trust(view);
    a.message(&b, "never sent");
    let (here, by_us) = a.refused().await;
    assert!(by_us && here.contains("is not signed by the issuer"), "{here}");
    let (there, by_us) = b.refused().await;
    assert!(!by_us);
    assert_eq!(there, here);
    assert!(b.events.try_recv().is_err(), "b never saw a connection");
}

#[tokio::test]
async fn a_host_in_no_fabric_accepts_nothing_and_sends_nothing() {
    let (a, b) = (Node::member(1), Node::start(2, limits()));
    a.message(&b, "x");
    eventually("the failure", || a.transport.peers()[0].last_error.is_some()).await;
    let error = a.transport.peers()[0].last_error.clone().unwrap();
    assert!(error.contains("it is in no fabric"), "{error}");
    b.message(&a, "y");
    assert_eq!(b.transport.counters().parcels_dropped, 1);
    assert!(b.transport.peers().is_empty());
}

#[tokio::test]
async fn a_forgotten_host_is_cut_off_at_once_and_stays_out() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    a.message(&b, "x");
    b.message_text().await;
    a.connected().await;
    let mut view = view(&root(), &[1, 2]);
    view.forgotten.insert(a.id());
    b.transport.set_trust(view);
    let (here, by_us) = b.refused().await;
    assert!(by_us && here.contains("was forgotten by this fabric"), "{here}");
    assert_eq!(b.disconnected().await, here);
    assert_eq!(a.refused().await, (here.clone(), false));
    assert_eq!(a.disconnected().await, here);

    assert_eq!(refused_by_b(&mut a, &mut b).await, here);
    let before = b.transport.counters().parcels_dropped;
    b.message(&a, "not even sent");
    assert_eq!(b.transport.counters().parcels_dropped, before + 1);
}

#[tokio::test]
async fn leaving_the_fabric_closes_everything() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    a.message(&b, "x");
    b.message_text().await;
    b.transport.set_membership(None);
    assert_eq!(a.disconnected().await, "the host there left its fabric");
}
