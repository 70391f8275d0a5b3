//! The door in front of a real dockerd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails must fail its test"
)]
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

mod door;
#[path = "../../../host/containers/tests/private_docker/mod.rs"]
mod private_docker;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use door::{Door, Scripted, agree};
use private_docker::PrivateDocker;
use shoal_docker::{INTERFACE_PREFIX, LOCAL_SPACE, Settings};
use shoal_networks::{Refusal, Reply, Route, Verb};

const WITHOUT_IPAM: &str =
    "networks of this driver take their addresses from it too: add --ipam-driver shoal";
const TAKEN: &str = "host \"reef\" uses 10.66.0.0/16 already; choose another --subnet";

/// Serves where the daemon looks for the plugin `shoal`.
fn open_door(daemon: &PrivateDocker, handler: &Arc<Scripted>) -> Door {
    Door::open_at(&daemon.plugin_socket(), handler.clone(), Settings::default())
}

/// Runs Docker's command line while the door is served.
async fn docker(daemon: &Arc<PrivateDocker>, arguments: &[&str]) -> Result<String, String> {
    let daemon = Arc::clone(daemon);
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || daemon.docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn refuse_some(verb: &Verb) -> Result<Reply, Refusal> {
    match verb {
        Verb::CreateNetwork { pools, .. } if pools.iter().any(|pool| pool.space != LOCAL_SPACE) => {
            Err(Refusal(WITHOUT_IPAM.to_owned()))
        }
        Verb::RequestPool { pool: Some(pool), .. } if pool.to_string() == "10.66.0.0/16" => {
            Err(Refusal(TAKEN.to_owned()))
        }
        Verb::RequestPool { pool: None, v6: false, .. } => {
            let gateway = Some("10.42.0.1/16".parse().unwrap());
            Ok(Reply::Pool { id: "p4".into(), prefix: "10.42.0.0/16".parse().unwrap(), gateway })
        }
        other => agree(other),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_made_and_refusals_reach_the_terminal() {
    let daemon = Arc::new(PrivateDocker::start("door"));
    let handler = Scripted::new(refuse_some);
    let door = open_door(&daemon, &handler);

    let create = ["network", "create", "-d", "shoal"];
    let with_ipam = [&create[..], &["--ipam-driver", "shoal"]].concat();
    let refused = docker(&daemon, &[&create[..], &["x"]].concat()).await.unwrap_err();
    assert!(refused.ends_with(WITHOUT_IPAM), "{refused}");
    let refused =
        docker(&daemon, &[&with_ipam[..], &["--subnet", "10.66.0.0/16", "x"]].concat()).await.unwrap_err();
    assert!(refused.ends_with(TAKEN), "{refused}");
    let refused =
        docker(&daemon, &[&with_ipam[..], &["--subnet", "10.67.8.9/16", "x"]].concat()).await.unwrap_err();
    assert!(refused.contains("10.67.8.9/16 has host bits set; the subnet is 10.67.0.0/16"), "{refused}");
    assert!(docker(&daemon, &["network", "inspect", "x"]).await.is_err());

    let id =
        docker(&daemon, &[&with_ipam[..], &["--ipam-opt", "shoal.network=x", "x"]].concat()).await.unwrap();
    let pools = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Scope}}";
    let shown = docker(&daemon, &["network", "inspect", "--format", pools, "x"]).await.unwrap();
    assert_eq!(shown, "10.42.0.0/16 10.42.0.1 local");
    let gateway_asked =
        handler.calls().iter().any(|verb| matches!(verb, Verb::RequestAddress { gateway: true, .. }));
    assert!(!gateway_asked, "a gateway given with the pool is not asked for");

    docker(&daemon, &["network", "rm", "x"]).await.unwrap();
    let calls = handler.calls();
    assert!(calls.contains(&Verb::ReleasePool { pool: "p4".into() }), "{calls:?}");
    assert_eq!(calls.last(), Some(&Verb::DeleteNetwork { network: id }));
    door.close().await;
}

/// Joins containers by a link whose inner end waits in the daemon's namespace.
fn join(verb: &Verb, mac: Option<&str>) -> Result<Reply, Refusal> {
    match verb {
        Verb::CreateEndpoint { .. } => Ok(Reply::Endpoint { mac: mac.map(|mac| mac.parse().unwrap()) }),
        Verb::Join { .. } => Ok(Reply::Joined {
            inner_name: "shc0".parse().unwrap(),
            prefix: INTERFACE_PREFIX,
            routes: vec![Route { destination: "10.43.0.0/24".parse().unwrap() }],
            no_gateway_bridge: true,
        }),
        Verb::RequestAddress { gateway: false, address: None, .. } => {
            Ok(Reply::Address("10.42.0.7/16".parse().unwrap()))
        }
        other => refuse_some(other),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_the_link_address_and_routes_that_were_answered() {
    const LINK_MAC: &str = "02:bb:00:00:00:01";
    const ANSWERED_MAC: &str = "02:aa:00:00:00:06";
    let daemon = Arc::new(PrivateDocker::start("join"));
    daemon.import_busybox();
    let endpoints = AtomicU32::new(0);
    let handler = Scripted::new(move |verb| {
        let is_first =
            matches!(verb, Verb::CreateEndpoint { .. }) && endpoints.fetch_add(1, Ordering::Relaxed) == 0;
        join(verb, is_first.then_some(ANSWERED_MAC))
    });
    let door = open_door(&daemon, &handler);
    docker(&daemon, &["network", "create", "-d", "shoal", "--ipam-driver", "shoal", "x"]).await.unwrap();

    for mac in [ANSWERED_MAC, LINK_MAC] {
        let link = ["link", "add", "sho0", "type", "veth", "peer", "name", "shc0", "address", LINK_MAC];
        run(daemon.enter("ip").args(link));
        let show = "ip -oneline address; ip -oneline link; ip route";
        let start = ["run", "--rm", "--network", "x", "busybox", "/bin/sh", "-c", show];
        let shown = docker(&daemon, &start).await.unwrap();
        assert!(shown.contains("inet 10.42.0.7/16"), "{shown}");
        assert!(shown.contains(&format!("link/ether {mac}")), "{shown}");
        assert!(shown.contains("10.43.0.0/24 dev eth0"), "{shown}");
        assert!(!shown.contains("eth1") && !shown.contains("default"), "{shown}");
        run(daemon.enter("ip").args(["link", "delete", "sho0"]));
    }
    let calls = handler.calls();
    let count = |is: fn(&Verb) -> bool| calls.iter().filter(|verb| is(verb)).count();
    assert_eq!(count(|verb| matches!(verb, Verb::Leave { .. })), 2);
    assert_eq!(count(|verb| matches!(verb, Verb::DeleteEndpoint { .. })), 2);
    assert_eq!(count(|verb| matches!(verb, Verb::ReleaseAddress { .. })), 2);
    door.close().await;
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
