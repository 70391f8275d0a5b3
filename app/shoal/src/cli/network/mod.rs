//! `shoal network`: makes, lists and deletes networks.

mod create;
mod delete;
mod list;

use super::Exit;
use super::args::NetworkCommand;
use super::error::CommandError;
use super::session::Session;

/// Runs one of them.
pub(super) async fn run(command: NetworkCommand, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    match command {
        NetworkCommand::Create(args) => create::run(*args, session).await,
        NetworkCommand::List(list) => list::run(list.output, session).await,
        NetworkCommand::Delete { names } => delete::run(names, session).await,
    }
}
