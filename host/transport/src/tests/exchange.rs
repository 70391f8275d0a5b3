use super::*;

#[tokio::test]
async fn two_members_exchange_datagrams_and_messages() {
    let (mut a, mut b) = (Node::member(1), Node::member(2));
    a.datagram(&b, "small");
    assert_eq!(b.connected().await, a.id());
    assert_eq!(b.datagram_text().await, "small");
    assert_eq!(a.connected().await, b.id());
    b.message(&a, "back over the same connection");
    assert_eq!(a.message_text().await, "back over the same connection");

    let status = &a.transport.peers()[0];
    assert!(status.connected && status.since.is_some() && status.rtt.is_some());
    assert!(status.sent_bytes > 0 && status.received_bytes > 0);
    assert_eq!((status.host, status.address, status.dropped), (b.id(), Some(b.address()), 0));
}

#[tokio::test]
async fn large_messages_and_large_datagrams_arrive_whole() {
    let (a, mut b) = (Node::member(1), Node::member(2));
    let large: Bytes = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
    a.transport.send_message(b.id(), &[b.address()], large.clone());
    let pick = |event| match event {
        Event::Message { bytes, .. } => Some(bytes),
        _ => None,
    };
    assert!(b.expect("5 MiB", pick).await == large);

    let oversized = large.slice(..60_000);
    a.transport.send_datagram(b.id(), &[], oversized.clone());
    let pick = |event| match event {
        Event::Datagram { bytes, .. } => Some(bytes),
        _ => None,
    };
    assert!(b.expect("a datagram over a stream", pick).await == oversized);
}

#[tokio::test]
async fn many_messages_all_arrive() {
    let (a, mut b) = (Node::member(1), Node::member(2));
    for number in 0..200_u32 {
        a.transport.send_message(b.id(), &[b.address()], number.to_be_bytes().to_vec().into());
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 200 {
        let pick = |event| match event {
            Event::Message { bytes, .. } => Some(bytes),
            _ => None,
        };
        assert!(seen.insert(b.expect("all 200", pick).await), "a message came twice");
    }
}

#[tokio::test]
async fn what_is_too_large_or_finds_no_room_is_counted() {
    let a = Node::start(1, Limits { outbox_parcels: 2, ..limits() });
    a.enter(&root(), 1);
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let too_large = vec![0; crate::MESSAGE_BYTES_MAX + 1].into();
    a.transport.send_message(key(2).id(), &[nowhere], too_large);
    assert_eq!(a.transport.counters().parcels_dropped, 1);
    for _ in 0..10 {
        a.transport.send_message(key(2).id(), &[nowhere], Bytes::new());
    }
    assert!(a.transport.counters().parcels_dropped >= 8);
    eventually("the loss", || a.transport.counters().parcels_lost >= 1).await;
    let error = a.transport.peers()[0].last_error.clone().unwrap();
    assert_eq!(error, "UDP port 9 of 127.0.0.1 does not answer: is it open, and is the agent running there?");
}

#[tokio::test]
async fn an_unreachable_first_address_does_not_matter() {
    let (a, mut b) = (Node::member(1), Node::member(2));
    let addresses = ["127.0.0.1:9".parse().unwrap(), "[::1]:9".parse().unwrap(), b.address()];
    a.transport.send_message(b.id(), &addresses, Bytes::from_static(b"found"));
    assert_eq!(b.message_text().await, "found");
}

#[tokio::test]
async fn another_host_at_the_address_is_told_apart() {
    let (a, b) = (Node::member(1), Node::member(2));
    a.transport.send_message(key(3).id(), &[b.address()], Bytes::from_static(b"for 3 only"));
    eventually("the failure", || a.transport.peers()[0].last_error.is_some()).await;
    let error = a.transport.peers()[0].last_error.clone().unwrap();
    assert!(error.contains(&format!("answers host {}, not the one expected", b.id().short())), "{error}");
    assert!(b.transport.peers().is_empty());
}

#[tokio::test]
async fn two_that_dial_at_once_end_with_one_connection_and_lose_nothing() {
    for round in 0..5 {
        let (mut a, mut b) = (Node::member(1), Node::member(2));
        a.message(&b, "from a");
        b.message(&a, "from b");
        assert_eq!((a.message_text().await, b.message_text().await), ("from b".into(), "from a".into()));
        eventually("one connection", || {
            [&a, &b].iter().all(|node| node.transport.shared.endpoint.open_connections() == 1)
        })
        .await;
        a.message(&b, "still there");
        assert_eq!(b.message_text().await, "still there", "round {round}");
        let disconnected = |event| matches!(event, Event::Disconnected { .. }).then_some(());
        assert_eq!(a.events.try_recv().ok().and_then(disconnected), None);
        assert_eq!(b.events.try_recv().ok().and_then(disconnected), None);
    }
}

/// Runs host 2 until it has received a message, then ends it as `kill -9` would: nobody says goodbye.
fn killed_after_a_message(listen: SocketAddr) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let node = runtime.block_on(async {
            let mut node = Node::start_at(2, listen, limits());
            node.enter(&root(), 2);
            node.message_text().await;
            node
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(node);
    })
}

/// A connection from 1 to 2, whose agent was killed after it was made.
async fn widowed() -> (Node, SocketAddr) {
    let listen = SocketAddr::from(([127, 0, 0, 1], own_port()));
    let victim = killed_after_a_message(listen);
    let mut a = Node::member(1);
    a.transport.send_message(key(2).id(), &[listen], Bytes::from_static(b"before"));
    assert_eq!(a.connected().await, key(2).id());
    tokio::task::spawn_blocking(|| victim.join().unwrap()).await.unwrap();
    (a, listen)
}

#[tokio::test]
async fn a_restarted_host_is_reached_again_without_waiting_for_a_timeout() {
    let (mut a, listen) = widowed().await;
    let mut b = Node::start_at(2, listen, limits());
    b.enter(&root(), 2);
    let started = b.clock.now();
    a.datagram(&b, "into the void, answered by a reset");
    assert_eq!(a.disconnected().await, "it lost the connection, probably by a restart");
    a.message(&b, "after");
    assert_eq!(b.message_text().await, "after");
    assert!(b.clock.now() - started < Duration::from_secs(4));
}

#[tokio::test]
async fn a_restarted_host_that_dials_first_replaces_its_old_connection() {
    let (mut a, _) = widowed().await;
    let b = Node::member(2);
    b.message(&a, "after");
    assert_eq!(a.disconnected().await, "it restarted");
    assert_eq!(a.connected().await, b.id());
    assert_eq!(a.message_text().await, "after");
}

#[tokio::test]
async fn a_host_that_fell_silent_is_disconnected() {
    let listen = SocketAddr::from(([127, 0, 0, 1], own_port()));
    let victim = killed_after_a_message(listen);
    let idle_timeout = Duration::from_secs(1);
    let mut a = Node::start(1, Limits { idle_timeout, keep_alive: idle_timeout / 4, ..limits() });
    a.enter(&root(), 1);
    a.transport.send_message(key(2).id(), &[listen], Bytes::from_static(b"before"));
    assert_eq!(a.disconnected().await, "it stopped answering");
    victim.join().unwrap();
}

#[tokio::test]
async fn a_goodbye_is_told() {
    let (a, mut b) = (Node::member(1), Node::member(2));
    a.message(&b, "x");
    b.message_text().await;
    a.transport.shutdown().await;
    assert_eq!(b.disconnected().await, "the agent there stopped");
    let mut c = Node::member(3);
    b.message(&c, "y");
    c.message_text().await;
    b.transport.disconnect(c.id());
    assert_eq!(c.disconnected().await, "the connection was closed by hand");
}

#[tokio::test]
async fn one_socket_serves_and_dials_both_families() {
    let dual = |number| {
        let node = Node::start_at(number, "[::]:0".parse().unwrap(), limits());
        node.enter(&root(), number);
        node
    };
    let (mut a, mut b) = (dual(1), dual(2));
    let port = b.address().port();
    a.transport.send_message(b.id(), &[SocketAddr::from(([127, 0, 0, 1], port))], Bytes::from_static(b"4"));
    assert_eq!(b.message_text().await, "4");
    assert_eq!(a.transport.peers()[0].address, Some(SocketAddr::from(([127, 0, 0, 1], port))));
    a.connected().await;
    a.transport.disconnect(b.id());
    a.disconnected().await;
    let v6: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    a.transport.send_message(b.id(), &[v6], Bytes::from_static(b"6"));
    assert_eq!(b.message_text().await, "6");
    assert_eq!(a.transport.peers()[0].address, Some(v6));
}

#[tokio::test]
async fn the_port_is_free_again_after_a_shutdown() {
    let (a, mut b) = (Node::member(1), Node::member(2));
    a.message(&b, "x");
    b.message_text().await;
    let address = a.address();
    a.transport.shutdown().await;
    drop(a);
    eventually("the port", || std::net::UdpSocket::bind(address).is_ok()).await;
}
