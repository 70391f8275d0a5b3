//! `shoal endpoints`: every container's attachment, with traffic and drops of this host's.

use std::collections::BTreeMap;

use shoal_api::{Command, Endpoint, Endpoints, Traffic};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Table, human};

/// Prints the list.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let endpoints: Endpoints = session.ask(&Command::Endpoints).await?;
    session.print(format, &endpoints, text)?;
    Ok(Exit::Success)
}

fn text(endpoints: &Endpoints, style: Style) -> String {
    let heads = ["NETWORK", "HOST", "CONTAINER", "ADDRESS", "LINK", ">SENT", ">RECEIVED", "DROPPED"];
    let mut table = Table::new(heads);
    for endpoint in &endpoints.endpoints {
        table.row(row(endpoint));
    }
    let mut text = table.render(style, "No container is on a network.");
    if endpoints.tunnel_drops.values().any(|count| *count > 0) {
        text.push_str(&format!("\nDropped at the tunnel: {}\n", reasons(&endpoints.tunnel_drops)));
    }
    text
}

fn row(endpoint: &Endpoint) -> [String; 8] {
    let traffic =
        |shown: fn(&Traffic) -> String| endpoint.traffic.as_ref().map_or_else(|| "-".to_owned(), shown);
    let addresses =
        endpoint.v4.iter().map(ToString::to_string).chain(endpoint.v6.iter().map(ToString::to_string));
    [
        endpoint.network.to_string(),
        endpoint.host.to_string(),
        endpoint.container.clone().unwrap_or_else(|| "-".to_owned()),
        human::list(addresses),
        endpoint.link.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        traffic(|t| human::packets(t.sent_packets, t.sent_bytes)),
        traffic(|t| human::packets(t.received_packets, t.received_bytes)),
        traffic(|t| reasons(&t.drops)),
    ]
}

/// `foreign_source 12, no_endpoint 3`: those that were counted.
fn reasons(drops: &BTreeMap<String, u64>) -> String {
    let counted = drops.iter().filter(|(_, count)| **count > 0);
    let text = human::list(counted.map(|(reason, count)| format!("{reason} {count}")));
    if text == "-" { "0".to_owned() } else { text }
}
