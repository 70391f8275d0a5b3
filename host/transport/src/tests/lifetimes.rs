use super::*;

fn brisk() -> Limits {
    Limits { upkeep_every: Duration::from_millis(100), ..limits() }
}

async fn renewed(node: &mut Node) -> Certificate {
    node.expect("a renewal", |event| match event {
        Event::CertificateRenewed(certificate) => Some(certificate),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_life_by_a_connected_member() {
    let (mut a, mut b) = (Node::start(1, brisk()), Node::member(2));
    a.enter(&root(), 1);
    b.transport.set_trust(view(&root(), &[1, 2]));
    a.transport.set_trust(view(&root(), &[1, 2]));
    a.message(&b, "x");
    b.message_text().await;
    let link = b.transport.shared.peers.find(a.id()).and_then(|peer| peer.link()).unwrap();
    let old = link.certificate();

    for node in [&a, &b] {
        node.clock.advance(4 * DAY);
    }
    let new = renewed(&mut a).await;
    assert_eq!(new.issuer, shoal_trust::Issuer::Member(b.id()));
    assert_eq!((new.host, &new.name), (old.host, &old.name));
    assert!(new.not_after > old.not_after);
    assert_eq!(a.transport.shared.place().unwrap().0.certificate, new);
    // It was announced, so the connection outlives the old certificate.
    eventually("the announcement", || link.certificate() == new).await;
}

#[tokio::test]
async fn a_certificate_of_a_forgotten_issuer_is_renewed_by_another_member() {
    let (mut a, mut b) = (Node::start(1, brisk()), Node::member(2));
    let claim =
        Claim { fabric: root().id(), key: key(1).public(), name: "a".parse().unwrap(), from: a.clock.wall() };
    let by_three = Certificate::issue_by_member(&key(3), claim);
    a.transport.set_trust(view(&root(), &[1, 2, 3]));
    b.transport.set_trust(view(&root(), &[1, 2, 3]));
    a.transport.set_membership(Some(Member { certificate: by_three, root: None }));
    a.message(&b, "x");
    b.message_text().await;
    // One that lasts longer than the old one is asked for.
    b.clock.advance(DAY);
    let mut without = view(&root(), &[1, 2, 3]);
    without.forgotten.insert(key(3).id());
    a.transport.set_trust(without);
    assert_eq!(renewed(&mut a).await.issuer, shoal_trust::Issuer::Member(b.id()));
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_not_renewed() {
    let (a, mut b) = (Node::start(1, brisk()), Node::member(2));
    a.enter(&root(), 1);
    a.message(&b, "x");
    b.message_text().await;
    a.clock.advance(4 * DAY);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let present = &a.transport.shared.place().unwrap().0.certificate;
    assert!(present.is_due(a.clock.wall()));
}

#[tokio::test]
async fn the_host_that_keeps_the_root_renews_its_own_certificate_even_late() {
    let mut a = Node::start(1, brisk());
    let old = certificate(&root(), 1, a.clock.wall());
    a.clock.advance(30 * DAY);
    a.transport.set_trust(view(&root(), &[1]));
    a.transport.set_membership(Some(Member { certificate: old, root: Some(Arc::new(root())) }));
    let new = renewed(&mut a).await;
    assert_eq!(new.issuer, shoal_trust::Issuer::Root);
    assert!(new.is_signed_by(&root().public()) && !new.is_due(a.clock.wall()));
}

#[tokio::test]
async fn a_connection_ends_with_its_peers_certificate() {
    let (mut a, mut b) = (Node::member(1), Node::start(2, brisk()));
    b.enter(&root(), 2);
    a.message(&b, "x");
    b.message_text().await;
    b.clock.advance(8 * DAY);
    let why = b.disconnected().await;
    assert!(why.contains("ended 1 day ago"), "{why}");
    assert_eq!(a.disconnected().await, why);
}
