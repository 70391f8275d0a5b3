//! Secrets stay where they belong: no log, answer or file that others can read has one.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Bed, Host, shoal_binary};
use shoal_ports::Store;
use shoal_store::RedbStore;
use shoal_types::hex;

scenarios! {
    no_log_and_no_answer_holds_a_secret,
    sockets_and_state_are_root_s_and_nothing_of_memory_is_dumped,
}

const ANSWERS: [&str; 12] = [
    "status",
    "status -o json",
    "hosts",
    "hosts -o json",
    "doctor",
    "doctor -o json",
    "endpoints -o json",
    "addresses -o json",
    "network list -o json",
    "token list -o json",
    "metrics",
    "version -o json",
];

/// Everything that happens to keys happens once, with the most talkative log.
fn no_log_and_no_answer_holds_a_secret(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(2), features)?;
    let environment = [features.environment(), &[("SHOAL_LOG_LEVEL", "trace")]].concat();
    let start = |host: &Host| host.start_agent(&[], &environment);
    for host in fabric.bed().hosts() {
        host.stop_agent()?;
        start(host)?;
    }
    let (one, two) = (fabric.host(1), fabric.host(2));
    one.shoal("init")?;
    let token = fabric.token("")?;
    two.shoal(&format!("join {} {token}", one.address()))?;
    fabric.settle(2)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    one.ping("here", &fabric.v4(2, "there", "shop")?)?;
    one.shoal("rotate-key")?;
    two.kill_agent()?;
    start(two)?;
    fabric.settle(2)?;
    let mut secrets = BTreeMap::from([("the join token".to_owned(), token.into_bytes())]);
    for host in fabric.bed().hosts() {
        secrets.extend(secrets_of(host)?);
    }
    ensure!(secrets.len() >= 7, "too few secrets are known to look for: {:?}", secrets.keys());
    for host in fabric.bed().hosts() {
        let mut texts = vec![("agent.log".to_owned(), std::fs::read(host.folder().join("agent.log"))?)];
        let settings = host.shoal_json("status")?["settings"].to_string();
        ensure!(settings.contains("\"trace\""), "the log is not at its most talkative: {settings}");
        texts.push(("dockerd.log".to_owned(), std::fs::read(host.folder().join("dockerd.log"))?));
        for answer in ANSWERS {
            let output = host.try_shoal(answer)?;
            texts.push((
                format!("shoal {answer}"),
                [output.stdout.into_bytes(), output.stderr.into_bytes()].concat(),
            ));
        }
        for (place, text) in &texts {
            for (name, secret) in &secrets {
                ensure!(!holds(text, secret), "{place} on {} holds {name}", host.name());
            }
        }
    }
    Ok(())
}

/// The secrets that a host keeps and uses, by what they are.
fn secrets_of(host: &Host) -> Result<BTreeMap<String, Vec<u8>>> {
    let copy = host.folder().join("state-copy.redb");
    host.sh(&format!("cp /var/lib/shoal/state.redb {}", copy.display()))?;
    let mut secrets = BTreeMap::new();
    for (key, value) in RedbStore::open(&copy)?.scan(b"")? {
        let name = format!("{} of {}", String::from_utf8_lossy(&key).escape_debug(), host.name());
        if key.starts_with(b"secret/") {
            secrets.insert(name, value);
        } else if key.ends_with(b"secret/") {
            // Protobuf: field 1, 32 bytes.
            let at = value.windows(2).position(|head| head == [0x0a, 32]).context("a secret's fact")?;
            secrets.insert(name, value[at + 2..at + 34].to_vec());
        }
    }
    for number in 0..2 {
        let path = format!("/run/shoal/shoal{number}.sock");
        let Ok(answer) = host.ask_socket(&path, "get=1\n\n") else { continue };
        for (at, line) in answer.lines().enumerate() {
            let Some((name, digits)) = line.split_once('=') else { continue };
            if ["private_key", "preshared_key"].contains(&name) && digits.bytes().any(|digit| digit != b'0') {
                secrets.insert(format!("{name} {at} of {} {number}", host.name()), unhex(digits)?);
            }
        }
    }
    Ok(secrets)
}

fn unhex(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// Whether a text has a secret as it is, in hexadecimal digits, in base64, or as a list of numbers.
fn holds(text: &[u8], secret: &[u8]) -> bool {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let digits = hex(secret);
    let base64 = <[u8; 32]>::try_from(secret).map(|bytes| shoal_types::WireGuardKey::new(bytes).to_string());
    let forms =
        [digits.to_uppercase(), digits, numbers.join(", "), numbers.join(","), base64.unwrap_or_default()];
    let forms = forms.iter().map(String::as_bytes).chain([secret]).filter(|form| !form.is_empty());
    forms.into_iter().any(|form| text.windows(form.len()).any(|part| part == form))
}

fn sockets_and_state_are_root_s_and_nothing_of_memory_is_dumped(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    let host = fabric.host(1);
    for (path, mode) in [
        ("/run/shoal/agent.sock", "600"),
        ("/run/shoal/shoal0.sock", "600"),
        ("/run/docker/plugins/shoal.sock", "600"),
        ("/var/lib/shoal", "700"),
        ("/var/lib/shoal/state.redb", "600"),
    ] {
        let found = host.sh(&format!("stat -c '%a %u %g' {path}"))?;
        ensure!(found.trim() == format!("{mode} 0 0"), "{path}: {found}");
    }
    // A copy, as nobody may enter the folder in which it was built.
    host.sh(&format!("cp {} /run/shoal-copy; chmod 755 /run/shoal-copy", shoal_binary()?.display()))?;
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/run/shoal-copy", "status"];
    let told = host.run(&nobody)?.refused()?;
    ensure!(told.contains("only root may ask it"), "{told}");
    let agent = host.agent_pid().context("the agent runs")?;
    let engines = host.processes("wireguard")?;
    ensure!(engines.len() == 1, "{engines:?}");
    for pid in [i64::from(agent), i64::from(engines[0])] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        ensure!(core.split_whitespace().collect::<Vec<_>>()[4..6] == ["0", "0"], "{core}");
    }
    Ok(())
}
