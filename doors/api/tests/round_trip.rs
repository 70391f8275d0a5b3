//! Commands and answers over a real Unix socket.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use shoal_api::{
    Agent, Answer, Client, Command, ConnectProblem, Failure, FailureKind, Join, NetworkCreate, Notices,
    Status, SubnetRequest, Version, listen, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// Answers `version` and `leave`, refuses `forget`, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<Command>>,
}

impl Agent for Scripted {
    async fn call(&self, command: Command) -> Result<Answer, Failure> {
        self.asked.lock().unwrap().push(command.clone());
        match command {
            Command::Version => Ok(Version { version: "1.2.3".to_owned() }.into()),
            Command::Forget { host } => {
                Err(Failure::not_found(format!("no host is called {host}")).hint("look"))
            }
            _ => Ok(Notices::default().into()),
        }
    }
}

/// A served socket in a folder of its own; ends with its test.
struct Bed {
    folder: PathBuf,
    agent: Arc<Scripted>,
    shutdown: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Bed {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("shoal-api-{test}-{}", std::process::id()));
        let (shutdown, told) = oneshot::channel();
        let agent = Arc::new(Scripted::default());
        let listener = listen(&folder.join("agent.sock")).unwrap();
        let served = tokio::spawn(serve(listener, agent.clone(), async {
            let _ = told.await;
        }));
        Self { folder, agent, shutdown: Some(shutdown), served }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn every_command() -> Vec<Command> {
    let subnet = SubnetRequest {
        prefix: "10.1.0.0/16".parse().unwrap(),
        gateway: Some("10.1.0.9".parse().unwrap()),
        ip_range: Some("10.1.4.0/24".parse().unwrap()),
        aux: [("printer".to_owned(), "10.1.0.7".parse().unwrap())].into(),
    };
    let name = "shop".parse::<shoal_types::NetworkName>().unwrap();
    let create = NetworkCreate {
        name: name.clone(),
        subnets: vec![subnet],
        ipv6: true,
        internal: true,
        labels: [("a".to_owned(), "b".to_owned())].into(),
        options: [("c".to_owned(), "d".to_owned())].into(),
    };
    let (host, token) = ("host-1".to_owned(), "secret".to_owned());
    let advertise = vec!["10.0.0.2".parse().unwrap()];
    vec![
        Command::Init { name: None },
        Command::Init { name: Some("host-1".parse().unwrap()) },
        Command::Token { ttl_s: 3600 },
        Command::TokenList,
        Command::TokenRevoke { token: Some("5eed5eed".to_owned()) },
        Command::TokenRevoke { token: None },
        Command::Join(Join { host: host.clone(), port: Some(7373), token, advertise }),
        Command::Leave,
        Command::Forget { host },
        Command::Status,
        Command::Hosts,
        Command::NetworkCreate(create),
        Command::NetworkList,
        Command::NetworkDelete { name },
        Command::Endpoints,
        Command::Addresses,
        Command::Doctor,
        Command::Version,
    ]
}

#[tokio::test]
async fn every_command_arrives_as_it_was_sent() {
    let bed = Bed::new("commands");
    let mut client = Client::connect(&bed.socket()).await.unwrap();
    for command in every_command() {
        let _ = client.call(&command).await;
    }
    assert_eq!(*bed.agent.asked.lock().unwrap(), every_command());
}

#[test]
fn a_command_s_name_is_its_tag_in_json() {
    for command in every_command() {
        assert_eq!(serde_json::to_value(&command).unwrap()["command"], command.name());
    }
}

#[tokio::test]
async fn an_answer_is_taken_as_what_was_expected() {
    let bed = Bed::new("answers");
    let mut client = Client::connect(&bed.socket()).await.unwrap();
    let version: Version = client.ask(&Command::Version).await.unwrap();
    assert_eq!(version.version, "1.2.3");
    let failure = client.ask::<Status>(&Command::Version).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Internal);
    assert_eq!(failure.message, "the agent answered \"Version\" where \"Status\" was expected");
}

#[tokio::test]
async fn a_failure_keeps_its_kind_message_and_hint() {
    let bed = Bed::new("failures");
    let mut client = Client::connect(&bed.socket()).await.unwrap();
    let failure = client.call(&Command::Forget { host: "x".to_owned() }).await.unwrap_err();
    assert_eq!(failure, Failure::not_found("no host is called x").hint("look"));
}

/// The whole response to a request that no [`Client`] would send.
async fn raw(socket: &Path, request: &str, body: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: shoal\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_the_agent_s_version() {
    let bed = Bed::new("foreign");
    let bodies = [
        ("{}", "missing field `command`"),
        (r#"{"command":"fly"}"#, "unknown variant `fly`"),
        (r#"{"command":"token","ttl_s":1,"encryption":"on"}"#, "unknown field `encryption`"),
        (r#"{"command":"network_create","name":"a","encryption":"on"}"#, "unknown field `encryption`"),
        (r#"{"command":"network_delete","name":"a/b"}"#, "cannot be a network's name"),
        ("not json", "expected ident"),
    ];
    for (body, expected) in bodies {
        let response = raw(&bed.socket(), "POST /v1/command", body).await;
        assert!(
            response.starts_with("HTTP/1.1 400") && response.contains("the agent is version"),
            "{response}"
        );
        assert!(response.contains(expected), "{response}");
    }
    assert!(bed.agent.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn there_is_one_route() {
    let bed = Bed::new("routes");
    let response = raw(&bed.socket(), "GET /", "").await;
    assert!(response.starts_with("HTTP/1.1 404") && response.contains("POST /v1/command"), "{response}");
    assert!(raw(&bed.socket(), "GET /v1/command", "").await.starts_with("HTTP/1.1 405"));
    assert!(
        raw(&bed.socket(), "POST /v1/command", r#"{"command":"leave"}"#)
            .await
            .ends_with(r#"{"answer":"done","value":{"notices":[]}}"#)
    );
}

#[tokio::test]
async fn the_socket_is_its_owner_s_alone_and_replaces_one_left_behind() {
    let mut bed = Bed::new("socket");
    let mode = std::fs::metadata(bed.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = listen(&bed.socket()).unwrap_err().to_string();
    assert!(error.ends_with("another process answers on it"), "{error}");

    bed.shutdown.take().unwrap().send(()).unwrap();
    (&mut bed.served).await.unwrap().unwrap();
    let error = Client::connect(&bed.socket()).await.unwrap_err();
    assert!(matches!(error.problem, ConnectProblem::NotRunning), "nobody listens: {error}");
    assert!(listen(&bed.socket()).is_ok());
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_apart() {
    let error = Client::connect(Path::new("/nowhere/agent.sock")).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent is not reached at /nowhere/agent.sock: it is not running");
}

#[tokio::test]
async fn an_agent_that_ends_before_it_answers_is_told() {
    let folder = std::env::temp_dir().join(format!("shoal-api-ends-{}", std::process::id()));
    let socket = folder.join("agent.sock");
    let listener = listen(&socket).unwrap();
    let ending = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let mut client = Client::connect(&socket).await.unwrap();
    ending.await.unwrap();
    let failure = client.call(&Command::Status).await.unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("ended before it answered"), "{failure}");
}
