//! `shoal completions SHELL`: prints completions.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Exit;
use super::args::Args;
use super::error::CommandError;
use crate::output::Output;

/// Prints them; the agent is not asked.
pub(super) fn run(shell: Shell, output: &Output) -> Result<Exit, CommandError> {
    output.print(&script(shell))?;
    Ok(Exit::Success)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "shoal", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in Args::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell} lacks {}", command.get_name());
            }
        }
    }
}
