//! `shoal status`: this host at a glance.

use std::time::Duration;

use shoal_api::{Command, Docker, Encrypter, Setting, Status, TransportInfo, TunnelInfo};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Table, Tone, human};

/// Prints it.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let status: Status = session.ask(&Command::Status).await?;
    session.print(format, &status, text)?;
    Ok(Exit::Success)
}

fn text(status: &Status, style: Style) -> String {
    let mut text = String::new();
    for (head, line) in lines(status, style) {
        text.push_str(&format!("{}  {line}\n", style.paint(Tone::Head, &format!("{head:10}"))));
    }
    for notice in &status.notices {
        text.push_str(&format!("\n{} {notice}\n", style.paint(Tone::Doubtful, "note:")));
    }
    text.push_str(&format!("\n{}", losses(status, style)));
    text.push_str(&format!("\n{}", settings(&status.settings, style)));
    text
}

fn lines(status: &Status, style: Style) -> [(&'static str, String); 8] {
    let host = &status.host;
    let up = human::duration(Duration::from_secs(host.uptime_s));
    [
        ("Host", format!("{} ({}), agent {}, up {up}", host.name, host.id.short(), host.version)),
        ("Fabric", fabric(status)),
        ("Transport", transport(&status.transport)),
        ("Tunnel", tunnel(&status.tunnel)),
        ("Encryption", encryption(&status.tunnel, style)),
        ("Docker", docker(&status.docker, style)),
        ("Networks", format!("{}, {} of them on this host", status.networks.total, status.networks.here)),
        ("Endpoints", format!("{} here, {} on other hosts", status.endpoints.local, status.endpoints.remote)),
    ]
}

fn fabric(status: &Status) -> String {
    match &status.fabric {
        Some(fabric) => format!("{}, {} of {} hosts alive", fabric.id.short(), fabric.alive, fabric.hosts),
        None => "none: start one with `shoal init` or enter one with `shoal join`".to_owned(),
    }
}

fn transport(transport: &TransportInfo) -> String {
    let Some(listen) = transport.listen else { return "not listening".to_owned() };
    let advertise = human::list(transport.advertise.iter().map(ToString::to_string));
    format!(
        "UDP {listen}, told to others as {advertise}, connected to {}",
        human::count(transport.peers, "host")
    )
}

fn tunnel(tunnel: &TunnelInfo) -> String {
    let state = |up| if up { "up" } else { "not made" };
    let Some(end) = &tunnel.encrypted else { return "none".to_owned() };
    let by = match end.by {
        Encrypter::Kernel => "the kernel's WireGuard",
        Encrypter::UserSpace => "WireGuard in user space",
    };
    let clear = tunnel
        .clear
        .as_ref()
        .map(|it| format!("; {} in clear, UDP port {}, {}", it.device, it.port, state(it.up)));
    format!("{}, {by}, UDP port {}, {}{}", end.device, end.port, state(end.up), clear.unwrap_or_default())
}

fn encryption(tunnel: &TunnelInfo, style: Style) -> String {
    let key = tunnel.encrypted.as_ref().map(|end| {
        let changing = if tunnel.key_changing { ", which is being changed" } else { "" };
        format!("; this host's key is {} old{changing}", human::duration(Duration::from_secs(end.key_age_s)))
    });
    let key = key.unwrap_or_default();
    if tunnel.clear_networks.is_empty() {
        return format!("on for every network{key}");
    }
    let names = human::list(tunnel.clear_networks.iter().map(ToString::to_string));
    let off = style.paint(Tone::Doubtful, &format!("off for {names}, as asked"));
    format!("{off}; on for every other network{key}")
}

fn docker(docker: &Docker, style: Style) -> String {
    let (socket, plugin) = (docker.socket.display(), docker.plugin_socket.display());
    if docker.reachable {
        let version = docker.version.as_deref().unwrap_or("of unknown version");
        return format!("{version} at {socket}, asks Shoal at {plugin}");
    }
    let why = docker.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    style.paint(Tone::Bad, &format!("not reached at {socket}{why}"))
}

fn losses(status: &Status, style: Style) -> String {
    let lost: Vec<_> = status.losses.iter().filter(|(_, count)| **count > 0).collect();
    if lost.is_empty() {
        return "Nothing was lost since the agent started.\n".to_owned();
    }
    let mut table = Table::new(["LOST", ">COUNT"]);
    for (name, count) in lost {
        table.row([name.clone(), count.to_string()]);
    }
    table.render(style, "")
}

fn settings(settings: &[Setting], style: Style) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
    for setting in settings {
        let value = if setting.value.is_empty() { "-" } else { &setting.value };
        table.row([setting.key.clone(), value.to_owned(), shoal_config::place(&setting.source)]);
    }
    table.render(style, "")
}
