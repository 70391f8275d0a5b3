//! `shoal init`: starts a fabric.

use shoal_api::{Command, Joined};

use super::Exit;
use super::args::Init;
use super::error::CommandError;
use super::session::Session;

/// Starts it and says what comes next.
pub(super) async fn run(args: Init, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let joined: Joined = session.ask(&Command::Init { name: args.name }).await?;
    session.say(&text(&joined))?;
    session.notices(&joined.notices);
    session.note("Next: `shoal token` here, then `shoal join` on the next host.");
    Ok(Exit::Success)
}

fn text(joined: &Joined) -> String {
    let Joined { fabric, host, name, quic_port, wireguard_port, addresses, .. } = joined;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "Started fabric {fabric}.\nThis host is {name} ({}), reached at {}, UDP ports {quic_port} and {wireguard_port}.\n",
        host.short(),
        addresses.join(", "),
    )
}
