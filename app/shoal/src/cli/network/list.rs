//! `shoal network list`

use shoal_api::{Command, Encryption, Here, Network};

use super::{CommandError, Exit, Session};
use crate::output::{Format, Style, Table, Tone, human};

/// Prints the list.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let networks: Vec<Network> = session.ask(&Command::NetworkList).await?;
    session.print(format, networks.as_slice(), text)?;
    Ok(Exit::Success)
}

fn text(networks: &[Network], style: Style) -> String {
    let heads =
        ["NAME", ">VNI", "SUBNET", "GATEWAY", ">ENDPOINTS", "INTERNAL", "ENCRYPTED", "MADE ON", "STATE"];
    let mut table = Table::new(heads);
    for network in networks {
        table.toned_row(tone(network), row(network));
    }
    let mut text = table.render(style, "There is no network: make one with `shoal network create NAME`.");
    let remarks: Vec<String> = networks.iter().flat_map(remarks).collect();
    if !remarks.is_empty() {
        text.push_str(&format!("\n{}\n", remarks.join("\n")));
    }
    text
}

fn row(network: &Network) -> [String; 9] {
    [
        network.name.to_string(),
        network.vni.to_string(),
        human::list(network.subnets.iter().map(|subnet| subnet.prefix.to_string())),
        human::list(network.subnets.iter().map(|subnet| subnet.gateway.to_string())),
        format!("{} of {}", network.endpoints_local, network.endpoints_total),
        if network.internal { "yes" } else { "no" }.to_owned(),
        encrypted(network).to_owned(),
        network.creator.clone(),
        state(network).to_owned(),
    ]
}

fn encrypted(network: &Network) -> &'static str {
    match network.encryption {
        Encryption::On => "yes",
        Encryption::Off => "no",
    }
}

fn state(network: &Network) -> &'static str {
    match network.here {
        Here::Present => "present",
        Here::Off => "off here",
        Here::Pending => "coming",
        Here::Refused { .. } => "refused here",
    }
}

fn tone(network: &Network) -> Tone {
    match network.here {
        Here::Present | Here::Pending => Tone::Plain,
        Here::Off => Tone::Faint,
        Here::Refused { .. } => Tone::Bad,
    }
}

/// Where it is not, and why.
fn remarks(network: &Network) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Here::Refused { why } = &network.here {
        remarks.push(format!("{}: {why}", network.name));
    }
    if !network.absent_on.is_empty() {
        let hosts = human::list(network.absent_on.iter().map(ToString::to_string));
        remarks.push(format!("{}: not on {hosts}", network.name));
    }
    remarks
}
