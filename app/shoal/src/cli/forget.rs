//! `shoal forget HOST`: puts a host out of the fabric for good.

use shoal_api::{Command, Notices};

use super::Exit;
use super::error::CommandError;
use super::session::Session;

/// Puts it out.
pub(super) async fn run(host: String, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let told = format!("{host} is out of the fabric for good.\n");
    let done: Notices = session.ask(&Command::Forget { host }).await?;
    session.say(&told)?;
    session.notices(&done.notices);
    Ok(Exit::Success)
}
