//! `shoal hosts`: the fabric's hosts.

use std::time::Duration;

use shoal_api::{Command, Host, HostState, Reach, Way};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Table, Tone, human};

/// Prints the list.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let hosts: Vec<Host> = session.ask(&Command::Hosts).await?;
    session.print(format, hosts.as_slice(), text)?;
    Ok(Exit::Success)
}

/// A table, then a sentence for each port that does not answer.
pub(super) fn text(hosts: &[Host], style: Style) -> String {
    let heads = [
        "NAME",
        "ID",
        "ADDRESS",
        "STATE",
        "QUIC",
        "TUNNEL",
        "HANDSHAKE",
        ">PATH MTU",
        ">RTT",
        ">SEEN",
        "VERSION",
    ];
    let mut table = Table::new(heads);
    for host in hosts {
        table.toned_row(tone(host), row(host));
    }
    let mut text = table.render(style, "This host belongs to no fabric.");
    let troubles: Vec<String> = hosts.iter().flat_map(troubles).collect();
    if !troubles.is_empty() {
        text.push_str(&format!("\n{}\n", troubles.join("\n")));
    }
    text
}

/// What does not answer of a host that should.
pub(super) fn troubles(host: &Host) -> Vec<String> {
    let why = |reach: &Reach| match reach {
        Reach::Unreachable { why } => Some(format!("{}: {why}", host.name)),
        Reach::Ok | Reach::Unknown => None,
    };
    if host.state == HostState::Forgotten {
        return Vec::new();
    }
    [&host.quic, &host.tunnel].into_iter().filter_map(why).collect()
}

fn row(host: &Host) -> [String; 11] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let seen = host.last_seen_ms.filter(|_| host.state != HostState::This);
    [
        host.name.to_string(),
        host.id.short(),
        human::list(host.addresses.iter().map(ToString::to_string)),
        state(host.state).to_owned(),
        reach(host, &host.quic),
        tunnel(host),
        or_dash(
            host.wireguard.as_ref().and_then(|it| it.last_handshake_s).map(|age| human::ago(age * 1_000)),
        ),
        or_dash(host.path_mtu.map(|mtu| mtu.to_string())),
        or_dash(host.rtt_us.map(|rtt| human::duration(Duration::from_micros(rtt)))),
        or_dash(seen.map(human::ago)),
        host.version.clone(),
    ]
}

fn state(state: HostState) -> &'static str {
    match state {
        HostState::This => "self",
        HostState::Alive => "alive",
        HostState::Suspect => "suspect",
        HostState::Down => "down",
        HostState::Forgotten => "forgotten",
    }
}

/// The port, and whether it answers.
fn reach(host: &Host, reach: &Reach) -> String {
    match reach {
        _ if matches!(host.state, HostState::This | HostState::Forgotten) => "-".to_owned(),
        Reach::Ok => "ok".to_owned(),
        Reach::Unreachable { .. } => "unreachable".to_owned(),
        Reach::Unknown if host.state == HostState::Down => "-".to_owned(),
        Reach::Unknown => "not known yet".to_owned(),
    }
}

/// Whether packets pass, whether the host is behind NAT, and whose agents pass them on.
fn tunnel(host: &Host) -> String {
    let mut words = vec![reach(host, &host.tunnel)];
    if host.behind_nat {
        words.push("NAT".to_owned());
    }
    match host.wireguard.as_ref().map(|tunnel| &tunnel.way) {
        None | Some(Way::Direct) => {}
        Some(Way::Agents) => words.push("over QUIC".to_owned()),
        Some(Way::Relay { host }) => words.push(format!("by {host}")),
        Some(Way::Broken) => words.push("no relay".to_owned()),
    }
    words.join(", ")
}

fn tone(host: &Host) -> Tone {
    match host.state {
        HostState::Forgotten => Tone::Faint,
        HostState::Down => Tone::Bad,
        HostState::Suspect => Tone::Doubtful,
        HostState::This | HostState::Alive if !troubles(host).is_empty() => Tone::Doubtful,
        HostState::This | HostState::Alive => Tone::Plain,
    }
}
