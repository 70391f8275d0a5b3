//! What a real daemon answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails must fail its test"
)]
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

mod private_docker;
mod scripted_plugin;

use std::collections::BTreeMap;
use std::time::Duration;

use private_docker::PrivateDocker;
use scripted_plugin::ScriptedPlugin;
use shoal_containers::{
    Container, ContainerState, Docker, Engine, EngineError, ErrorKind, Event, Events, NetworkSpec, PoolSpec,
    Wish,
};
use tokio::time::timeout;

/// Reads events until one is the wanted one.
async fn see(events: &mut Events, wanted: &Event) {
    let mut seen = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_secs(20), events.next()).await {
        if event == *wanted {
            return;
        }
        seen.push(event);
    }
    panic!("{wanted:?} did not come; seen: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_every_driver_are_listed_with_their_subnets() {
    let daemon = PrivateDocker::start("list");
    let engine = Docker::at(daemon.socket());
    let id = daemon.docker_ok(&[
        "network",
        "create",
        "--subnet",
        "10.201.0.0/24",
        "--ipv6",
        "--subnet",
        "fd01:2::/64",
        "--internal",
        "--label",
        "team=sea",
        "--opt",
        "com.docker.network.bridge.name=br-x",
        "plain",
    ]);
    let all = engine.networks().await.unwrap();
    let names: Vec<_> = all.iter().map(|network| network.name.as_str()).collect();
    for name in ["bridge", "host", "none", "plain"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let bridge = all.iter().find(|network| network.name == "bridge").unwrap();
    assert_eq!((bridge.driver.as_str(), bridge.subnets.len()), ("bridge", 1));

    let plain = engine.network(&id).await.unwrap().unwrap();
    assert_eq!(all.iter().find(|network| network.id == id), Some(&plain));
    assert_eq!(plain.subnets, ["10.201.0.0/24".parse().unwrap(), "fd01:2::/64".parse().unwrap()]);
    assert!(plain.internal && plain.enable_ipv6);
    assert_eq!((plain.driver.as_str(), plain.ipam_driver.as_str()), ("bridge", "default"));
    assert_eq!(plain.labels, BTreeMap::from([("team".to_owned(), "sea".to_owned())]));
    assert_eq!(plain.options["com.docker.network.bridge.name"], "br-x");

    assert_eq!(engine.network(&"0".repeat(64)).await.unwrap(), None);
    assert_eq!(engine.network("plain").await.unwrap(), None, "a name is no id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_created_with_all_that_was_asked_and_only_once() {
    let daemon = PrivateDocker::start("create");
    let plugin = ScriptedPlugin::listen(&daemon.plugin_socket());
    let engine = Docker::at(daemon.socket());
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let spec = NetworkSpec {
        name: "shop".to_owned(),
        labels: text(&[("com.docker.compose.network", "shop")]),
        options: text(&[("shoal.network", "shop")]),
        ipam_options: text(&[("shoal.network", "shop")]),
        pools: vec![PoolSpec {
            subnet: "10.7.0.0/16".parse().unwrap(),
            gateway: Some("10.7.0.1".parse().unwrap()),
            ip_range: Some("10.7.1.0/24".parse().unwrap()),
            aux: BTreeMap::from([("router".to_owned(), "10.7.0.9".parse().unwrap())]),
        }],
        internal: true,
        ipv6: false,
    };
    let id = engine.create_network(spec.clone()).await.unwrap();
    let made = engine.network(&id).await.unwrap().unwrap();
    assert_eq!((made.driver.as_str(), made.ipam_driver.as_str()), ("shoal", "shoal"));
    assert_eq!(
        (&made.labels, &made.options, &made.ipam_options),
        (&spec.labels, &spec.options, &spec.ipam_options)
    );
    assert_eq!((made.subnets, made.internal), (vec!["10.7.0.0/16".parse().unwrap()], true));
    let asked = plugin.bodies_of("IpamDriver.RequestPool");
    assert!(asked[0].contains(r#""Pool":"10.7.0.0/16","SubPool":"10.7.1.0/24""#), "{asked:?}");
    let created = plugin.bodies_of("NetworkDriver.CreateNetwork");
    assert!(created[0].contains(r#""AuxAddresses":{"router":"10.7.0.9/16"}"#), "{created:?}");

    let again = engine.create_network(spec.clone()).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Exists, "{again}");
    plugin.refuse("NetworkDriver.CreateNetwork", "the tide is out");
    let other = NetworkSpec { name: "other".to_owned(), ..spec };
    let EngineError { reason, kind, .. } = engine.create_network(other).await.unwrap_err();
    assert_eq!(kind, ErrorKind::Refused);
    assert!(reason.contains("the tide is out"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_nobody_serves_ends_in_an_error_in_time() {
    let daemon = PrivateDocker::start("nodriver");
    let engine = Docker::at(daemon.socket());
    let spec = NetworkSpec { name: "shop".to_owned(), ..Default::default() };
    let answer =
        timeout(Duration::from_secs(6), engine.create_network(spec)).await.expect("the deadline holds");
    // dockerd looks for the plugin for 15 s.
    assert_eq!(answer.unwrap_err().kind, ErrorKind::Down);
    assert!(!engine.networks().await.unwrap().iter().any(|network| network.name == "shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_keep_their_network_and_wishes_in_every_state() {
    let daemon = PrivateDocker::start("wishes");
    daemon.import_busybox();
    let engine = Docker::at(daemon.socket());
    let create =
        ["network", "create", "--subnet", "10.202.0.0/24", "--ipv6", "--subnet", "fd02:2::/64", "shop"];
    let network = daemon.docker_ok(&create);
    daemon.docker_ok(&["network", "create", "idle"]);
    let new = daemon.docker_ok(&["create", "--network", "shop", "--name", "new", "busybox", "/bin/true"]);
    let start = [
        "run",
        "--detach",
        "--network",
        "shop",
        "--ip",
        "10.202.0.77",
        "--ip6",
        "fd02:2::77",
        "--name",
        "db",
        "busybox",
        "/bin/sleep",
        "1000",
    ];
    let db = daemon.docker_ok(&start);
    daemon.docker_ok(&[
        "run",
        "--detach",
        "--name",
        "elsewhere",
        "--network",
        "idle",
        "busybox",
        "/bin/sleep",
        "1000",
    ]);

    let of = |id: &str, name: &str, state| Container { id: id.to_owned(), name: name.to_owned(), state };
    let sorted = |mut containers: Vec<Container>| {
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        containers
    };
    let wanted =
        sorted(vec![of(&new, "new", ContainerState::Created), of(&db, "db", ContainerState::Running)]);
    assert_eq!(engine.containers_of(&network).await.unwrap(), wanted);
    let (v4, v6) = (Some("10.202.0.77".parse().unwrap()), Some("fd02:2::77".parse().unwrap()));
    let wish = Wish { network: "shop".to_owned(), network_id: Some(network.clone()), v4, v6 };
    assert_eq!(engine.container_networks(&db).await.unwrap(), std::slice::from_ref(&wish));
    let unstarted = engine.container_networks(&new).await.unwrap();
    assert_eq!(unstarted, [Wish { network: "shop".to_owned(), network_id: None, v4: None, v6: None }]);

    let attached = engine.attachments().await.unwrap();
    let inspected =
        daemon.docker_ok(&["inspect", "--format", "{{.NetworkSettings.Networks.shop.EndpointID}}", "db"]);
    let in_shop = attached.iter().find(|it| it.endpoint == inspected).unwrap();
    assert_eq!((in_shop.network.as_str(), in_shop.container.as_str()), (network.as_str(), "db"));
    assert_eq!((in_shop.v4, in_shop.v6), (v4, v6));
    assert_eq!(attached.len(), 2);

    daemon.docker_ok(&["kill", "db"]);
    let wanted =
        sorted(vec![of(&new, "new", ContainerState::Created), of(&db, "db", ContainerState::Stopped)]);
    assert_eq!(engine.containers_of(&network).await.unwrap(), wanted);
    assert_eq!(engine.container_networks(&db).await.unwrap(), [wish]);
    assert!(engine.container_networks("nobody").await.unwrap().is_empty());

    // Made again under the same name it is another network: what was attached to the old one would not start.
    daemon.docker_ok(&["network", "rm", "shop"]);
    let again = daemon.docker_ok(&["network", "create", "shop"]);
    assert_eq!(engine.containers_of(&again).await.unwrap(), [of(&new, "new", ContainerState::Created)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_deleted_unless_a_running_container_uses_it() {
    let daemon = PrivateDocker::start("delete");
    daemon.import_busybox();
    let engine = Docker::at(daemon.socket());
    let network = daemon.docker_ok(&["network", "create", "shop"]);
    let start = ["run", "--detach", "--network", "shop", "--name", "db", "busybox", "/bin/sleep", "1000"];
    daemon.docker_ok(&start);
    let refused = engine.delete_network(&network).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.reason.contains("has active endpoints")),
        (ErrorKind::Refused, true),
        "{refused}"
    );
    daemon.docker_ok(&["kill", "db"]);
    engine.delete_network(&network).await.unwrap();
    assert_eq!(engine.network(&network).await.unwrap(), None);
    engine.delete_network(&network).await.expect("what is gone is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_seen_and_come_back_after_a_restart() {
    let mut daemon = PrivateDocker::start("events");
    daemon.import_busybox();
    let engine = Docker::at(daemon.socket());
    let mut events = engine.events();
    see(&mut events, &Event::EngineUp).await;
    // Right after EngineUp: nothing between the listing and the subscription may be lost.
    let network = daemon.docker_ok(&["network", "create", "shop"]);
    see(&mut events, &Event::NetworkCreated { id: network.clone() }).await;
    let id = daemon.docker_ok(&[
        "run",
        "--detach",
        "--network",
        "shop",
        "--name",
        "db",
        "busybox",
        "/bin/sleep",
        "1000",
    ]);
    see(&mut events, &Event::ContainerCreated { id: id.clone() }).await;
    see(&mut events, &Event::NetworkConnected { network: network.clone(), container: id.clone() }).await;
    see(&mut events, &Event::ContainerStarted { id: id.clone() }).await;
    daemon.docker_ok(&["rename", "db", "store"]);
    see(&mut events, &Event::ContainerRenamed { id: id.clone() }).await;
    daemon.docker_ok(&["kill", "store"]);
    see(&mut events, &Event::ContainerDied { id: id.clone() }).await;
    daemon.docker_ok(&["rm", "store"]);
    see(&mut events, &Event::ContainerRemoved { id }).await;

    daemon.stop_daemon();
    see(&mut events, &Event::EngineDown).await;
    assert_eq!(engine.networks().await.unwrap_err().kind, ErrorKind::Down);
    daemon.start_daemon();
    see(&mut events, &Event::EngineUp).await;
    assert!(engine.network(&network).await.unwrap().is_some());
    daemon.docker_ok(&["network", "rm", "shop"]);
    see(&mut events, &Event::NetworkRemoved { id: network }).await;
}

#[tokio::test]
async fn a_wedged_daemon_is_an_error_and_comes_back_without_help() {
    let socket = std::env::temp_dir().join(format!("shoal-wedged-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let engine = Docker::at(socket.display().to_string());
    let mut events = engine.events();
    let error = timeout(Duration::from_secs(7), engine.networks()).await.unwrap().unwrap_err();
    let sentence = format!("cannot list networks: {} did not answer within 5 s", socket.display());
    assert_eq!((error.kind, error.to_string()), (ErrorKind::Down, sentence));
    see(&mut events, &Event::EngineDown).await;

    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_everything_with_a_version(stream));
        }
    });
    see(&mut events, &Event::EngineUp).await;
    std::fs::remove_file(&socket).unwrap();
}

/// A daemon just alive enough to say which API it speaks.
fn answer_everything_with_a_version(stream: std::os::unix::net::UnixStream) {
    use std::io::{BufRead, BufReader, Write};
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let body = r#"{"ApiVersion":"1.41"}"#;
        if line.is_empty()
            && write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_err()
        {
            return;
        }
    }
}
