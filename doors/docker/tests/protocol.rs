//! The protocol as dockerd meets it: statuses, encodings, deadlines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails must fail its test"
)]

mod door;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use door::{Door, Scripted, agree};
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use shoal_docker::{Answer, Handler, INTERFACE_PREFIX, Settings};
use shoal_networks::{Refusal, Reply, Route, Verb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

const ENDPOINT: &str = "219a01ad80839020f697a0be62acaf40163e262d02eaffa8d57f22dd411ac5d7";

fn text(sentence: &str) -> Value {
    json!({"Err": sentence, "Error": sentence})
}

#[tokio::test]
async fn calls_without_a_decision_are_answered_by_the_door() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    let fixed = [
        ("Plugin.Activate", json!({"Implements": ["NetworkDriver", "IpamDriver"]})),
        ("NetworkDriver.GetCapabilities", json!({"Scope": "local", "ConnectivityScope": "global"})),
        ("IpamDriver.GetCapabilities", json!({"RequiresMACAddress": false, "RequiresRequestReplay": false})),
        (
            "IpamDriver.GetDefaultAddressSpaces",
            json!({"LocalDefaultAddressSpace": "ShoalLocal", "GlobalDefaultAddressSpace": "ShoalGlobal"}),
        ),
        ("NetworkDriver.DiscoverNew", json!({})),
        ("NetworkDriver.DiscoverDelete", json!({})),
        ("NetworkDriver.ProgramExternalConnectivity", json!({})),
        ("NetworkDriver.RevokeExternalConnectivity", json!({})),
    ];
    for (verb, wanted) in fixed {
        assert_eq!(door.post(verb, "").await, (200, wanted.clone()), "{verb}");
        assert_eq!(door.post(verb, "{\"DiscoveryType\":1}").await, (200, wanted), "{verb}");
    }
    for verb in ["NetworkDriver.AllocateNetwork", "NetworkDriver.FreeNetwork"] {
        let (status, answer) = door.post(verb, "{}").await;
        assert_eq!(status, 500);
        assert!(answer["Err"].as_str().unwrap().contains("need no Swarm"), "{answer}");
    }
    assert!(handler.calls().is_empty());
    door.close().await;
}

/// Asks for the verb `body` belongs to and has the handler give `reply`.
async fn answered(verb: &str, body: Value, reply: Reply) -> (u16, Value) {
    let door = Door::open(Scripted::new(move |_| Ok(reply.clone())), Settings::default());
    door.post(verb, body.to_string()).await
}

#[tokio::test]
async fn replies_are_encoded_as_dockerd_reads_them() {
    let pool = |gateway: Option<&str>| Reply::Pool {
        id: "p1".into(),
        prefix: "10.42.0.0/16".parse().unwrap(),
        gateway: gateway.map(|text| text.parse().unwrap()),
    };
    let ask_pool = json!({"AddressSpace": "ShoalLocal"});
    let wanted = json!({"PoolID": "p1", "Pool": "10.42.0.0/16", "Data": {"com.docker.network.gateway": "10.42.0.1/16"}});
    assert_eq!(
        answered("IpamDriver.RequestPool", ask_pool.clone(), pool(Some("10.42.0.1/16"))).await,
        (200, wanted)
    );
    let wanted = json!({"PoolID": "p1", "Pool": "10.42.0.0/16", "Data": {}});
    assert_eq!(answered("IpamDriver.RequestPool", ask_pool, pool(None)).await, (200, wanted));

    let address = Reply::Address("fd42::5/64".parse().unwrap());
    let wanted = json!({"Address": "fd42::5/64", "Data": {}});
    assert_eq!(answered("IpamDriver.RequestAddress", json!({"PoolID": "p1"}), address).await, (200, wanted));

    let ids = json!({"NetworkID": "n1", "EndpointID": ENDPOINT, "Interface": {}, "SandboxKey": "/run/x"});
    let mac = Reply::Endpoint { mac: Some("02:aa:00:00:00:06".parse().unwrap()) };
    let wanted = json!({"Interface": {"MacAddress": "02:aa:00:00:00:06"}});
    assert_eq!(answered("NetworkDriver.CreateEndpoint", ids.clone(), mac).await, (200, wanted));
    let unchanged = Reply::Endpoint { mac: None };
    let wanted = json!({"Interface": {}});
    assert_eq!(answered("NetworkDriver.CreateEndpoint", ids.clone(), unchanged).await, (200, wanted));

    let joined = Reply::Joined {
        inner_name: "shc219a01ad".parse().unwrap(),
        prefix: INTERFACE_PREFIX,
        routes: vec![Route { destination: "10.43.0.0/24".parse().unwrap() }],
        no_gateway_bridge: true,
    };
    let wanted = json!({
        "InterfaceName": {"SrcName": "shc219a01ad", "DstPrefix": "eth"},
        "StaticRoutes": [{"Destination": "10.43.0.0/24", "RouteType": 1}],
        "DisableGatewayService": true,
    });
    assert_eq!(answered("NetworkDriver.Join", ids.clone(), joined).await, (200, wanted));

    let info = Reply::Info(BTreeMap::from([("host".into(), "h1".into())]));
    let wanted = json!({"Value": {"host": "h1"}});
    assert_eq!(answered("NetworkDriver.EndpointOperInfo", ids.clone(), info).await, (200, wanted));
    assert_eq!(answered("NetworkDriver.Leave", ids, Reply::Done).await, (200, json!({})));
}

#[tokio::test]
async fn a_refusal_reaches_both_sides_of_dockerd_word_for_word() {
    let door =
        Door::open(Scripted::new(|_| Err(Refusal("the pool \"x\" is full".into()))), Settings::default());
    let answer = door.post("IpamDriver.ReleasePool", r#"{"PoolID":"p"}"#).await;
    assert_eq!(answer, (500, text("the pool \"x\" is full")));
}

#[tokio::test]
async fn a_reply_of_the_wrong_kind_is_never_read_as_empty_fields() {
    let (status, answer) = answered("IpamDriver.RequestAddress", json!({"PoolID": "p"}), Reply::Done).await;
    assert_eq!(status, 500);
    assert!(answer["Error"].as_str().unwrap().contains("wrong kind"), "{answer}");
}

#[tokio::test]
async fn only_known_verbs_by_post_and_of_bounded_size_are_taken() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    let get =
        Request::get("/Plugin.Activate").header("host", "plugin").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(door.send(get).await, (405, text("Docker plugin calls are POST requests")));
    assert_eq!(
        door.post("NetworkDriver.Fly", "{}").await,
        (404, text("Shoal does not implement NetworkDriver.Fly"))
    );
    let (status, answer) = door.post("IpamDriver.ReleasePool", vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(status, 413, "{answer}");
    let mut padded = br#"{"PoolID":"p"}"#.to_vec();
    padded.resize(1 << 20, b' ');
    let typed = Request::post("/IpamDriver.ReleasePool")
        .header("host", "plugin")
        .header("content-type", "text/whatever")
        .body(Full::new(padded.into()))
        .unwrap();
    assert_eq!(door.send(typed).await, (200, json!({})));
    assert_eq!(handler.calls(), [Verb::ReleasePool { pool: "p".into() }]);
}

#[tokio::test]
async fn a_body_that_is_no_call_is_refused_with_the_field() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    let space = r#""AddressSpace":"ShoalLocal""#;
    let cases = [
        ("IpamDriver.ReleasePool", String::new(), "the request's body is empty"),
        ("IpamDriver.ReleasePool", "[]".into(), "the request's body must be a JSON object, not a list"),
        ("IpamDriver.ReleasePool", "{}".into(), "PoolID: is missing or empty"),
        ("IpamDriver.ReleasePool", r#"{"PoolID":7}"#.into(), "PoolID: must be text, not a number"),
        ("IpamDriver.RequestPool", "{}".into(), "AddressSpace: is missing or empty"),
        (
            "IpamDriver.RequestPool",
            format!(r#"{{{space},"Pool":"10.1.2.3/16"}}"#),
            "Pool: 10.1.2.3/16 has host bits set; the subnet is 10.1.0.0/16",
        ),
        (
            "IpamDriver.RequestPool",
            format!(r#"{{{space},"Pool":"10.1.0.0/16","V6":true}}"#),
            "Pool: 10.1.0.0/16 is IPv4, but IPv6 is expected here",
        ),
        (
            "IpamDriver.RequestPool",
            format!(r#"{{{space},"Pool":"10.1.0.0/16","SubPool":"10.2.0.0/24"}}"#),
            "SubPool: 10.2.0.0/24 lies outside the pool 10.1.0.0/16",
        ),
        (
            "IpamDriver.RequestPool",
            format!(r#"{{{space},"SubPool":"10.2.0.0/24"}}"#),
            "SubPool: needs a Pool (--ip-range needs --subnet)",
        ),
        (
            "IpamDriver.ReleaseAddress",
            r#"{"PoolID":"p","Address":"10.1.0"}"#.into(),
            "Address: \"10.1.0\" is not an address",
        ),
        (
            "IpamDriver.ReleaseAddress",
            r#"{"PoolID":"p","Address":""}"#.into(),
            "Address: is missing or empty",
        ),
        (
            "NetworkDriver.CreateNetwork",
            r#"{"NetworkID":"n","IPv4Data":[{"Pool":"10.0.0.0/8"},{"Pool":"fd00::/8"}]}"#.into(),
            "IPv4Data[1].Pool: fd00::/8 is IPv6, but IPv4 is expected here",
        ),
        (
            "NetworkDriver.CreateNetwork",
            r#"{"NetworkID":"n","IPv4Data":[{"Pool":"10.0.0.0/8","AuxAddresses":{"r":"x"}}]}"#.into(),
            "IPv4Data[0].AuxAddresses.r: \"x\" is not an address",
        ),
        (
            "NetworkDriver.CreateNetwork",
            r#"{"NetworkID":"n","Options":{"com.docker.network.generic":"x"}}"#.into(),
            "Options.com.docker.network.generic: must be an object, not text",
        ),
        (
            "NetworkDriver.Leave",
            r#"{"NetworkID":"n","EndpointID":"xyz"}"#.into(),
            "EndpointID: \"xyz\" is not an endpoint id: 64 hexadecimal digits are expected",
        ),
        (
            "NetworkDriver.DeleteNetwork",
            r#"{"NetworkID":"a b"}"#.into(),
            "NetworkID: \"a b\" is not an id: it must have at most 128 printable characters",
        ),
        (
            "NetworkDriver.Join",
            format!(r#"{{"NetworkID":"n","EndpointID":"{ENDPOINT}","SandboxKey":"netns"}}"#),
            "SandboxKey: must be the absolute path of a network namespace",
        ),
        (
            "NetworkDriver.CreateEndpoint",
            format!(
                r#"{{"NetworkID":"n","EndpointID":"{ENDPOINT}","Interface":{{"AddressIPv6":"10.0.0.1/8"}}}}"#
            ),
            "Interface.AddressIPv6: 10.0.0.1/8 is IPv4, but IPv6 is expected here",
        ),
    ];
    for (verb, body, sentence) in cases {
        assert_eq!(door.post(verb, body).await, (400, text(sentence)), "{verb}");
    }
    let (status, answer) = door.post("IpamDriver.ReleasePool", "{\"PoolID\":").await;
    assert!(status == 400 && answer["Err"].as_str().unwrap().starts_with("the request's body is not JSON: "));
    assert!(handler.calls().is_empty());
}

#[tokio::test]
async fn options_that_are_not_text_become_text() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    let generic = json!({"mtu": 1400, "on": true, "name": "x", "list": [1]});
    let options = json!({"com.docker.network.generic": generic, "com.docker.network.internal": "true"});
    let body = json!({"NetworkID": "n", "Options": options, "IPv4Data": null});
    assert_eq!(door.post("NetworkDriver.CreateNetwork", body.to_string()).await.0, 200);
    let wanted = [("list", "[1]"), ("mtu", "1400"), ("name", "x"), ("on", "true")];
    let options = wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let verb = Verb::CreateNetwork { network: "n".into(), options, internal: true, pools: vec![] };
    assert_eq!(handler.calls(), [verb]);
}

/// Answers when it is let go, and tells of every call that came to its end.
struct Held {
    gate: Semaphore,
    entered: Notify,
    ended: Notify,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), entered: Notify::new(), ended: Notify::new() })
    }
}

impl Handler for Held {
    fn call(&self, _: Verb) -> Answer<'_> {
        Box::pin(async {
            self.entered.notify_one();
            let _pass = self.gate.acquire().await;
            self.ended.notify_one();
            Ok(Reply::Done)
        })
    }
}

fn quick() -> Settings {
    Settings { deadline: Duration::from_millis(200) }
}

#[tokio::test]
async fn a_core_that_hangs_never_hangs_dockerd() {
    let handler = Held::new();
    let door = Door::open(handler.clone(), quick());
    let started = Instant::now();
    let (status, answer) = door.post("IpamDriver.ReleasePool", r#"{"PoolID":"p"}"#).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(status, 500);
    assert!(answer["Error"].as_str().unwrap().contains("did not decide in time"), "{answer}");
    // The verb was not broken off half way.
    handler.gate.add_permits(1);
    timeout(Duration::from_secs(2), handler.ended.notified()).await.unwrap();
}

#[tokio::test]
async fn a_verb_goes_on_when_dockerd_hangs_up() {
    let handler = Held::new();
    let door = Door::open(handler.clone(), Settings::default());
    let mut stream = UnixStream::connect(&door.socket).await.unwrap();
    let request =
        "POST /IpamDriver.ReleasePool HTTP/1.1\r\nHost: p\r\nContent-Length: 14\r\n\r\n{\"PoolID\":\"p\"}";
    stream.write_all(request.as_bytes()).await.unwrap();
    handler.entered.notified().await;
    drop(stream);
    sleep(Duration::from_millis(50)).await;
    handler.gate.add_permits(1);
    timeout(Duration::from_secs(2), handler.ended.notified()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let door = Door::open(Scripted::new(agree), quick());
    let mut stream = UnixStream::connect(&door.socket).await.unwrap();
    let request =
        "POST /IpamDriver.ReleasePool HTTP/1.1\r\nHost: p\r\nContent-Length: 99\r\n\r\n{\"PoolID\":";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(3), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(3), stream.read_to_end(&mut rest))
        .await
        .expect("the connection is closed")
        .unwrap();
}

#[tokio::test]
async fn a_panic_costs_one_call() {
    let door = Door::open(
        Scripted::new(|verb| match verb {
            Verb::ReleasePool { pool } if pool == "bad" => panic!("a mistake in the core"),
            other => agree(other),
        }),
        Settings::default(),
    );
    let (status, answer) = door.post("IpamDriver.ReleasePool", r#"{"PoolID":"bad"}"#).await;
    assert_eq!((status, answer["Err"].as_str().unwrap().contains("failed inside")), (500, true));
    assert_eq!(door.post("IpamDriver.ReleasePool", r#"{"PoolID":"good"}"#).await.0, 200);
}

/// Answers after a while with the address it was asked for.
struct Slow;

impl Handler for Slow {
    fn call(&self, verb: Verb) -> Answer<'_> {
        Box::pin(async move {
            sleep(Duration::from_millis(100)).await;
            agree(&verb)
        })
    }
}

#[tokio::test]
async fn fifty_calls_at_once_are_answered_each_with_its_own() {
    let door = Arc::new(Door::open(Arc::new(Slow), Settings::default()));
    let started = Instant::now();
    let calls: Vec<_> = (1..=50)
        .map(|number| {
            let door = Arc::clone(&door);
            let body = format!(r#"{{"PoolID":"p","Address":"10.0.0.{number}"}}"#);
            let answer = async move { door.post("IpamDriver.RequestAddress", body).await };
            (number, tokio::spawn(answer))
        })
        .collect();
    for (number, call) in calls {
        let wanted = json!({"Address": format!("10.0.0.{number}/32"), "Data": {}});
        assert_eq!(call.await.unwrap(), (200, wanted));
    }
    assert!(started.elapsed() < Duration::from_secs(3), "the calls waited for each other");
}

#[tokio::test]
async fn shutdown_answers_what_is_under_way_and_waits_for_nothing_else() {
    let handler = Held::new();
    let door = Door::open(handler.clone(), Settings { deadline: Duration::from_secs(1) });
    let mut stuck = UnixStream::connect(&door.socket).await.unwrap();
    stuck.write_all(b"POST /Plugin.Acti").await.unwrap();
    let mut asking = UnixStream::connect(&door.socket).await.unwrap();
    let request =
        "POST /IpamDriver.ReleasePool HTTP/1.1\r\nHost: p\r\nContent-Length: 14\r\n\r\n{\"PoolID\":\"p\"}";
    asking.write_all(request.as_bytes()).await.unwrap();
    handler.entered.notified().await;
    let closing = tokio::spawn(door.close());
    sleep(Duration::from_millis(50)).await;
    handler.gate.add_permits(1);
    let mut answer = String::new();
    timeout(Duration::from_secs(2), asking.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    timeout(Duration::from_secs(4), closing).await.expect("a stuck connection holds nothing up").unwrap();
}
