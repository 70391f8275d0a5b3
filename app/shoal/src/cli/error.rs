//! How a command fails: what the user reads, and the exit code.

use std::process::ExitCode;

use shoal_api::{ConnectError, ConnectProblem, Failure};

use crate::output::Output;
use shoal_config::ConfigError;

/// The command failed, or found differences.
pub(super) const FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
pub(super) const USAGE: u8 = 2;
/// The agent is not reached.
pub(super) const UNREACHED: u8 = 3;

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// To be read by the user.
    Told {
        /// The exit code.
        code: u8,
        /// One sentence without a full stop.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Stdout could not be written.
    Stdout(std::io::Error),
}

impl CommandError {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Told { code: FAILED, message: message.into(), hint: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Told { code: USAGE, message: message.into(), hint: None }
    }

    /// Tells the user; the code to exit with.
    pub(super) fn report(&self, output: &Output) -> ExitCode {
        match self {
            Self::Told { code, message, hint } => {
                output.error(message, hint.as_deref());
                ExitCode::from(*code)
            }
            Self::Stdout(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Stdout(error) => {
                output.error(&format!("cannot write the output: {error}"), None);
                ExitCode::from(FAILED)
            }
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::Stdout(error)
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Told { code: FAILED, message: failure.message, hint: failure.hint }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        let hint = match error.problem {
            ConnectProblem::NotRunning => Some("start it with `systemctl start shoal`"),
            ConnectProblem::Forbidden => Some("run the command as root, for instance with sudo"),
            ConnectProblem::Other(_) => None,
        };
        Self::Told { code: UNREACHED, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}
