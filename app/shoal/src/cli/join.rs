//! `shoal join`: joins a fabric and waits until its hosts have answered.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_api::{Command, Host, HostState, Join, Joined, Reach};
use shoal_types::HostId;

use super::args;
use super::error::CommandError;
use super::session::Session;
use super::{Exit, hosts};
use crate::output::{Style, Table, human};

/// How often the agent is asked whether the hosts have answered, and how many times: 15 seconds in all.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_TIMES: u32 = 60;

/// Joins; progress goes to stderr, the hosts' ports and path MTUs to stdout. A host that does not answer is told, and
/// is no failure: this host is in.
pub(super) async fn run(args: args::Join, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let args::Join { member, token, advertise } = args;
    let through =
        member.port.map_or_else(|| member.host.clone(), |port| format!("{}, UDP port {port}", member.host));
    session.client().await?;
    session.note(&format!("Asking {through} to let this host in ..."));
    let join = Join { host: member.host, port: member.port, token: token.trim().to_owned(), advertise };
    let joined: Joined = session.ask(&Command::Join(join)).await?;
    session.note(&format!(
        "Joined fabric {} of {}.",
        joined.fabric.short(),
        human::count(joined.hosts, "host")
    ));
    let others = wait(session).await?;
    session.say(&text(&others, session.style()))?;
    session.notices(&joined.notices);
    Ok(Exit::Success)
}

/// Watches the other hosts until each has answered or failed to, or time is up.
async fn wait(session: &mut Session<'_>) -> Result<Vec<Host>, CommandError> {
    let mut told = BTreeSet::new();
    for asked in 1.. {
        let hosts: Vec<Host> = session.ask(&Command::Hosts).await?;
        let others: Vec<Host> = hosts.into_iter().filter(is_other).collect();
        tell_settled(&others, &mut told, session);
        if others.iter().all(is_settled) || asked >= ASK_TIMES {
            return Ok(others);
        }
        if asked == 1 {
            session.note("Waiting for the other hosts' ports to answer ...");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(Vec::new())
}

fn tell_settled(others: &[Host], told: &mut BTreeSet<HostId>, session: &Session<'_>) {
    for host in others.iter().filter(|host| is_settled(host)) {
        if told.insert(host.id) {
            session.note(&sentence(host));
        }
    }
}

fn is_other(host: &Host) -> bool {
    !matches!(host.state, HostState::This | HostState::Forgotten)
}

fn is_settled(host: &Host) -> bool {
    let known = |reach: &Reach| !matches!(reach, Reach::Unknown);
    // A host that was just heard of counts as down until it is reached or that has failed.
    known(&host.quic) && (host.state == HostState::Down || known(&host.tunnel))
}

fn sentence(host: &Host) -> String {
    let troubles = hosts::troubles(host);
    match host.path_mtu {
        _ if !troubles.is_empty() => troubles.join("\n"),
        _ if host.state == HostState::Down => format!("{} is down.", host.name),
        Some(mtu) => format!("{} answers on both ports, path MTU {mtu}.", host.name),
        None => format!("{} answers on both ports.", host.name),
    }
}

fn text(others: &[Host], style: Style) -> String {
    let mut table = Table::new(["HOST", "ADDRESS", "QUIC", "TUNNEL", ">PATH MTU"]);
    for host in others {
        table.row([
            host.name.to_string(),
            human::list(host.addresses.iter().map(ToString::to_string)),
            port(host.quic_port, &host.quic),
            host.tunnel_port.map_or_else(|| "-".to_owned(), |number| port(number, &host.tunnel)),
            host.path_mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
        ]);
    }
    table.render(style, "No other host is in the fabric.")
}

fn port(number: u16, reach: &Reach) -> String {
    let state = match reach {
        Reach::Ok => "answers",
        Reach::Unreachable { .. } => "does not answer",
        Reach::Unknown => "not known yet",
    };
    format!("UDP {number} {state}")
}
