//! `shoal agent`: runs the agent.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Exit;
use super::args::Global;
use super::error::CommandError;
use super::flags::SettingFlags;
use shoal_config::{LogLevel, Raw};

/// Decides the settings and runs the agent until it is told to end.
pub(super) fn run(flags: SettingFlags, global: &Global) -> Result<Exit, CommandError> {
    let SettingFlags(mut typed) = flags;
    if let Some(socket) = &global.socket {
        typed.insert("socket", Raw::Text(socket.display().to_string()));
    }
    let settings = shoal_config::load(&typed, global.config.as_deref())?;
    log(settings.log_level);
    crate::agent::run(settings).map_err(|error| CommandError::failed(format!("{error:#}")))?;
    Ok(Exit::Success)
}

/// Logs to stderr. Under systemd the journal has the time already, elsewhere it stands in each line.
pub(super) fn log(level: LogLevel) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directives()))
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    // An error means that a log is set up already, which is then the one to use.
    let _ = if under_systemd { lines.without_time().try_init() } else { lines.try_init() };
}
