use super::*;
use crate::JoinError;

/// A member that knows `token` and answers every join with `welcome`.
fn introducer(token: &Token) -> Node {
    let node = Node::member(1);
    let mut view = view(&root(), &[1, 2]);
    view.tokens.insert(token.verifier(), token.expires());
    node.transport.set_trust(view);
    node
}

async fn welcome(mut node: Node, answer: Result<Vec<u8>, String>) -> (Node, JoinRequest) {
    let pick = |event| match event {
        Event::JoinAsked { request, reply, .. } => Some((request, reply)),
        _ => None,
    };
    let (request, reply) = node.expect("a join", pick).await;
    reply.send(answer).unwrap();
    (node, request)
}

fn soon(node: &Node) -> WallTime {
    node.clock.wall() + Duration::from_secs(3_600)
}

#[tokio::test]
async fn a_host_with_a_good_token_is_let_in_and_can_talk() {
    let mut newcomer = Node::start(9, limits());
    let token = token(&root(), 5, soon(&newcomer));
    let node = introducer(&token);
    let address = node.address();
    let asking = tokio::spawn(welcome(node, Ok(vec![7; 1_000_000])));
    let joined = newcomer.transport.join(&address.to_string(), &token, &request()).await.unwrap();
    let (mut node, heard) = asking.await.unwrap();

    assert_eq!(heard, request());
    assert_eq!(joined.introducer, node.id());
    assert_eq!(joined.root_public, root().public());
    assert_eq!(joined.members, view(&root(), &[1, 2]).members.into_iter().collect::<Vec<_>>());
    assert_eq!(joined.welcome, vec![7; 1_000_000]);
    assert_eq!(joined.observed_address.to_string(), "127.0.0.1");
    assert_eq!(joined.introducer_address, address);

    let member = Member { certificate: joined.certificate, root: None };
    newcomer
        .transport
        .set_trust(TrustView { members: joined.members.into_iter().collect(), ..view(&root(), &[]) });
    newcomer.transport.set_membership(Some(member));
    newcomer.message(&node, "here I am");
    assert_eq!(node.message_text().await, "here I am");
    node.message(&newcomer, "welcome");
    assert_eq!(newcomer.message_text().await, "welcome");
}

/// Tries to join with `shown` where `known` is the token, and returns both sides' sentences.
async fn refusal(known: &Token, shown: &Token) -> (JoinError, String) {
    let mut node = introducer(known);
    let newcomer = Node::start(9, limits());
    let error = newcomer.transport.join(&node.address().to_string(), shown, &request()).await.unwrap_err();
    let (sentence, by_us) = node.refused().await;
    assert!(by_us);
    (error, sentence)
}

#[tokio::test]
async fn a_forged_token_is_refused_on_both_sides() {
    let until = MovableClock::start().wall() + DAY;
    let (error, sentence) = refusal(&token(&root(), 5, until), &token(&root(), 6, until)).await;
    assert!(matches!(error, JoinError::UnknownToken(_)), "{error}");
    assert!(sentence.contains("forged or revoked, or somebody sits in between"), "{sentence}");
}

#[tokio::test]
async fn a_stale_token_is_refused_with_its_age_on_both_sides() {
    let now = MovableClock::start().wall();
    let ended = WallTime::from_millis(now.as_millis() - 3 * 3_600_000 - 60_000);
    let stale = token(&root(), 5, ended);
    let (error, sentence) = refusal(&stale, &stale).await;
    assert!(error.to_string().contains("expired 3 hours ago: make a new one"), "{error}");
    assert!(sentence.contains("expired 3 hours ago"), "{sentence}");
    // The member has cleared its fact away: the token itself still knows.
    let (error, _) = refusal(&token(&root(), 6, now + DAY), &stale).await;
    assert!(matches!(error, JoinError::Expired(_)), "{error}");
}

#[tokio::test]
async fn a_token_of_another_fabric_is_refused_on_both_sides() {
    let until = MovableClock::start().wall() + DAY;
    let other = FabricRoot::from_seed([201; 32]);
    let (error, sentence) = refusal(&token(&root(), 5, until), &token(&other, 5, until)).await;
    let expected = (other.id(), root().id());
    assert!(matches!(error, JoinError::OtherFabric { token, answered, .. } if (token, answered) == expected));
    assert!(sentence.contains("token of another fabric"), "{sentence}");
}

#[tokio::test]
async fn a_member_that_does_not_know_the_token_cannot_pretend() {
    // An impostor that takes everyone in: it has a root of its own and claims the fabric's id.
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let fake_root = FabricRoot::from_seed([66; 32]);
    let impostor = Node::start(66, limits());
    let claim = Claim {
        fabric: root().id(),
        key: key(66).public(),
        name: "host-1".parse().unwrap(),
        from: impostor.clock.wall(),
    };
    let certificate = Certificate::issue_by_root(&fake_root, claim);
    impostor.transport.set_membership(Some(Member { certificate, root: None }));
    impostor.transport.set_trust(TrustView { root_public: fake_root.public(), ..view(&root(), &[]) });
    let address = impostor.address().to_string();
    // It refuses, as it cannot check the proof; nothing more can come of it.
    let error = newcomer.transport.join(&address, &good, &request()).await.unwrap_err();
    assert!(matches!(error, JoinError::UnknownToken(_)), "{error}");
}

#[tokio::test]
async fn an_answer_without_a_proof_is_not_believed() {
    use crate::introduce::channel_binding;
    use crate::wire::{self, Grant, JoinReply};

    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let impostor = Node::start(66, limits());
    let endpoint = impostor.transport.shared.endpoint.clone();
    // The door would refuse while in no fabric; it is not running any more.
    impostor.transport.shared.stop_tasks();
    let forged = Certificate::issue_by_member(
        &key(66),
        Claim {
            fabric: root().id(),
            key: key(9).public(),
            name: "x".parse().unwrap(),
            from: WallTime::default(),
        },
    );
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        assert!(channel_binding(&connection).is_some());
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        wire::read_opening(&mut recv).await.unwrap();
        let grant = Grant {
            proof: [0; 32],
            certificate: forged.encode(),
            root_public: root().public(),
            members: Vec::new(),
            welcome: Vec::new(),
            observed: [127, 0, 0, 1].into(),
        };
        wire::write(&mut send, &JoinReply::Granted(Box::new(grant))).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    });
    let error =
        newcomer.transport.join(&impostor.address().to_string(), &good, &request()).await.unwrap_err();
    assert!(matches!(error, JoinError::Unproven(_)), "{error}");
}

#[tokio::test]
async fn a_forgotten_host_cannot_come_back_with_its_old_key() {
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let mut node = introducer(&good);
    let mut view = view(&root(), &[1]);
    view.tokens.insert(good.verifier(), good.expires());
    view.forgotten.insert(newcomer.id());
    node.transport.set_trust(view);
    let error = newcomer.transport.join(&node.address().to_string(), &good, &request()).await.unwrap_err();
    assert_eq!(error, JoinError::Forgotten);
    assert!(node.refused().await.0.contains("it was forgotten"));
}

#[tokio::test]
async fn the_agents_own_refusal_reaches_the_joiner() {
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let node = introducer(&good);
    let address = node.address().to_string();
    tokio::spawn(welcome(node, Err("the disk is full".to_owned())));
    let error = newcomer.transport.join(&address, &good, &request()).await.unwrap_err();
    assert_eq!(error.to_string(), "127.0.0.1 refused: the disk is full");
}

#[tokio::test]
async fn where_nothing_listens_the_port_and_host_are_named() {
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let join =
        async |address| newcomer.transport.join(address, &good, &request()).await.unwrap_err().to_string();
    assert_eq!(
        join("127.0.0.1:9").await,
        "cannot reach UDP port 9 of 127.0.0.1: is it open, and is the agent running there?"
    );
    assert!(join("").await.contains("is not the address of a host"));
    assert!(join("no-such-host.invalid").await.contains("cannot be resolved"));
    let unjoined = Node::start(8, limits());
    let error = join(&unjoined.address().to_string()).await;
    assert_eq!(error, "127.0.0.1 is in no fabric: run `shoal init` there, or join another host");
}

#[tokio::test]
async fn joins_are_limited_in_rate() {
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let node = Node::start(1, Limits { joins_burst: 0, join_every: DAY, ..limits() });
    node.enter(&root(), 1);
    let mut view = view(&root(), &[1]);
    view.tokens.insert(good.verifier(), good.expires());
    node.transport.set_trust(view);
    let error = newcomer.transport.join(&node.address().to_string(), &good, &request()).await.unwrap_err();
    assert!(matches!(error, JoinError::Busy(_)), "{error}");
    assert_eq!(node.transport.counters().joins_limited, 1);
}

#[tokio::test]
async fn a_man_in_the_middle_cannot_pass_a_join_on() {
    use crate::wire;

    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let mut node = introducer(&good);
    let middle = Node::start(66, limits());
    middle.transport.shared.stop_tasks();
    let shared = &middle.transport.shared;
    let (endpoint, client, target) = (shared.endpoint.clone(), shared.dialling(), node.address());
    tokio::spawn(async move {
        let victim = endpoint.accept().await.unwrap().await.unwrap();
        let (mut answer, mut ask) = victim.accept_bi().await.unwrap();
        let opening = wire::read_opening(&mut ask).await.unwrap();
        let onward = endpoint.connect_with(client, target, crate::tls::SERVER_NAME).unwrap();
        let onward = onward.await.unwrap();
        let (mut send, mut recv) = onward.open_bi().await.unwrap();
        wire::write_opening(&mut send, &opening).await.unwrap();
        let reply: wire::JoinReply = wire::read(&mut recv, wire::WELCOME_BYTES_MAX).await.unwrap();
        wire::write(&mut answer, &reply).await.unwrap();
        answer.finish().unwrap();
        victim.closed().await;
    });
    let error = newcomer.transport.join(&middle.address().to_string(), &good, &request()).await.unwrap_err();
    assert!(matches!(error, JoinError::UnknownToken(_)), "{error}");
    assert!(node.refused().await.0.contains("somebody sits in between"));
}

#[tokio::test]
async fn another_version_is_told_apart() {
    let newcomer = Node::start(9, limits());
    let good = token(&root(), 5, soon(&newcomer));
    let crypto = crate::tls::server(&key(1), b"shoal/2").unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let later = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = later.local_addr().unwrap().to_string();
    tokio::spawn(async move { later.accept().await.unwrap().await.map(|_| ()) });
    let error = newcomer.transport.join(&address, &good, &request()).await.unwrap_err();
    assert_eq!(error, JoinError::OtherVersion("127.0.0.1".to_owned()));
}
