//! `shoal network delete NAME...`: removes networks everywhere.

use shoal_api::{Command, Notices};
use shoal_types::NetworkName;

use super::{CommandError, Exit, Session};

/// Removes one after the other; the first that is refused ends the command.
pub(super) async fn run(names: Vec<NetworkName>, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    for name in names {
        let done: Notices = session.ask(&Command::NetworkDelete { name: name.clone() }).await?;
        session.say(&format!("{name}\n"))?;
        session.notices(&done.notices);
    }
    Ok(Exit::Success)
}
