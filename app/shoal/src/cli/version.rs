//! `shoal version`: this program's version and the agent's.

use serde::Serialize;
use shoal_api::{Command, Version};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::Format;

/// Both versions.
#[derive(Debug, Serialize)]
struct Versions {
    /// This program's.
    client: Version,
    /// The running agent's; `None` if it is not reached.
    agent: Option<Version>,
}

/// Prints both; an agent that does not run is no failure.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let agent = match session.client().await {
        Ok(client) => Some(client.ask(&Command::Version).await?),
        Err(_) => None,
    };
    let versions = Versions { client: Version { version: env!("CARGO_PKG_VERSION").to_owned() }, agent };
    session.print(format, &versions, |versions, _| text(versions))?;
    Ok(Exit::Success)
}

fn text(versions: &Versions) -> String {
    let client = &versions.client.version;
    match &versions.agent {
        Some(agent) if agent.version == *client => format!("shoal {client}, the agent too\n"),
        Some(agent) => format!(
            "shoal {client}, the agent {}: restart it with `systemctl restart shoal`, packets keep flowing\n",
            agent.version
        ),
        None => format!("shoal {client}, the agent is not reached\n"),
    }
}
