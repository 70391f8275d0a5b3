//! `shoal rotate-key`

use shoal_api::{Command, Notices};

use super::Exit;
use super::error::CommandError;
use super::session::Session;

/// Asks for the change; the agent carries it out.
pub(super) async fn run(session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let _: Notices = session.ask(&Command::RotateKey).await?;
    session.note("The key changes within about a minute; `shoal status` shows the one in use.");
    Ok(Exit::Success)
}
