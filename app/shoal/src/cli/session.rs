//! What a command works with: the agent, stdout and stderr.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use shoal_api::{Client, Command, ConnectError, FromAnswer};

use super::args::Global;
use super::error::CommandError;
use crate::output::{Format, Output, Style};

/// One command's means. The agent is looked for at the first question.
pub(crate) struct Session<'a> {
    socket: PathBuf,
    client: Option<Client>,
    output: &'a Output,
}

impl<'a> Session<'a> {
    /// Decides where the agent's socket is: flag, environment, configuration file, default.
    pub(super) fn new(global: &Global, output: &'a Output) -> Result<Self, CommandError> {
        Ok(Self { socket: socket(global)?, client: None, output })
    }

    /// Asks the agent.
    pub(super) async fn ask<T: FromAnswer>(&mut self, command: &Command) -> Result<T, CommandError> {
        Ok(self.client().await?.ask(command).await?)
    }

    /// The connection to the agent, made when first needed.
    pub(super) async fn client(&mut self) -> Result<&mut Client, ConnectError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.socket).await?,
        };
        Ok(self.client.insert(client))
    }

    /// Prints an answer: as JSON, or as `text` makes it.
    pub(super) fn print<T: Serialize + ?Sized>(
        &self,
        format: Format,
        answer: &T,
        text: impl FnOnce(&T, Style) -> String,
    ) -> Result<(), CommandError> {
        match format {
            Format::Table => self.output.print(&text(answer, self.output.style()))?,
            Format::Json => self.output.json(answer)?,
        }
        Ok(())
    }

    /// Prints text.
    pub(super) fn say(&self, text: &str) -> Result<(), CommandError> {
        Ok(self.output.print(text)?)
    }

    /// Tells the user something that is no data.
    pub(super) fn note(&self, text: &str) {
        self.output.note(text);
    }

    /// Tells the user what the agent wants to be read.
    pub(super) fn notices(&self, notices: &[String]) {
        notices.iter().for_each(|notice| self.output.note(&format!("note: {notice}")));
    }

    /// How stdout may be written.
    pub(super) fn style(&self) -> Style {
        self.output.style()
    }
}

/// The file is read only if neither flag nor variable names the socket: a broken file must not stand between the
/// user and an agent that runs.
fn socket(global: &Global) -> Result<PathBuf, CommandError> {
    if let Some(socket) = global.socket.clone() {
        return Ok(socket);
    }
    if let Some(socket) = std::env::var_os("SHOAL_SOCKET").filter(|socket| !socket.is_empty()) {
        return Ok(PathBuf::from(socket));
    }
    Ok(shoal_config::load(&BTreeMap::new(), global.config.as_deref())?.socket)
}
