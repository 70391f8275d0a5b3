//! `shoal leave`: takes this host out of its fabric.

use shoal_api::{Command, Notices};

use super::Exit;
use super::error::CommandError;
use super::session::Session;

/// Takes it out.
pub(super) async fn run(session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let done: Notices = session.ask(&Command::Leave).await?;
    session.say("This host left its fabric.\n")?;
    session.notices(&done.notices);
    Ok(Exit::Success)
}
