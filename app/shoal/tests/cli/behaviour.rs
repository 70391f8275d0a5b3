//! What a script relies on: streams, exit codes, and what the agent is really asked.

use crate::support::{Bed, Mood, shoal};
use shoal_api::{Command, Join};

#[test]
fn the_token_stands_alone_on_stdout() {
    let bed = Bed::new("token", Mood::Fabric);
    assert_eq!(bed.run("token --ttl 30m").stdout, b"shoal1-c2VjcmV0\n");
    assert_eq!(bed.asked(), [Command::Token { ttl_s: 1800 }]);
}

#[test]
fn what_was_typed_reaches_the_agent() {
    let bed = Bed::new("typed", Mood::Fabric);
    bed.run("init --name host-9");
    bed.run("network rm a b");
    bed.run("forget host-5");
    bed.run("rotate-key");
    let delete = |name: &str| Command::NetworkDelete { name: name.parse().unwrap() };
    let expected = [
        Command::Init { name: Some("host-9".parse().unwrap()) },
        delete("a"),
        delete("b"),
        Command::Forget { host: "host-5".to_owned() },
        Command::RotateKey,
    ];
    assert_eq!(bed.asked(), expected);
}

#[test]
fn join_asks_until_the_hosts_have_answered() {
    let bed = Bed::new("join", Mood::Fabric);
    bed.run("join [fd00::1]:7000 T --advertise 10.0.0.1 --advertise fd00::2");
    let join = Join {
        host: "fd00::1".to_owned(),
        port: Some(7000),
        token: "T".to_owned(),
        advertise: vec!["10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap()],
    };
    assert_eq!(bed.asked(), [Command::Join(join), Command::Hosts, Command::Hosts]);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let bed = Bed::new("pipe", Mood::Fabric);
    for line in ["hosts", "status -o json", "completions bash", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut process = shoal(line);
        let mut child = process.env("SHOAL_SOCKET", bed.socket()).stdout(writer).spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let bed = Bed::new("full", Mood::Fabric);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = shoal("hosts").env("SHOAL_SOCKET", bed.socket()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("error: cannot write the output: No space left")
    );
}

#[test]
fn the_flag_outranks_the_variable() {
    let bed = Bed::new("outrank", Mood::Alone);
    let line = format!("hosts --socket {}", bed.socket().display());
    let output = shoal(&line).env("SHOAL_SOCKET", "/nowhere/agent.sock").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_configuration_file_names_the_socket_and_its_faults_are_told() {
    let bed = Bed::new("file", Mood::Alone);
    let file = bed.socket().with_file_name("config.toml");
    std::fs::write(&file, format!("socket = \"{}\"\n", bed.socket().display())).unwrap();
    assert_eq!(shoal("hosts").env("SHOAL_CONFIG", &file).output().unwrap().status.code(), Some(0));

    std::fs::write(&file, "sokcet = \"/x\"\n").unwrap();
    let output = shoal(&format!("hosts --config {}", file.display())).output().unwrap();
    let expected = format!(
        "error: {}, line 1: \"sokcet\" is not a setting; the nearest is \"socket\"\n",
        file.display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_agent_with_wrong_settings_does_not_start() {
    let table = [
        (
            "agent --quic-port 0",
            "error: --quic-port: \"0\" is not a UDP port: give a number from 1 to 65535\n",
        ),
        ("agent --features-off tcx,map-batch", "error: --features-off: \"tcx\" is not a feature"),
        ("agent --config /nowhere.toml", "error: cannot read /nowhere.toml: No such file or directory"),
        ("agent --socket agent.sock", "error: --socket: \"agent.sock\" is not an absolute path"),
    ];
    for (line, expected) in table {
        let output = shoal(line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(expected), "{line}: {stderr}");
    }
}
