//! How results are written: data to stdout, all else to stderr, colour only on a terminal.

pub(crate) mod human;
mod style;
mod table;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use style::{Style, Tone};
pub(crate) use table::Table;

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; may change
    Table,
    /// For programs; names and units are stable
    Json,
}

/// This process's stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    stdout: Style,
    stderr: Style,
}

impl Output {
    /// Colour where a stream is a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(crate) fn of_this_process() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = !set("NO_COLOR") && !dumb;
        Self {
            stdout: Style::new(wanted && io::stdout().is_terminal()),
            stderr: Style::new(wanted && io::stderr().is_terminal()),
        }
    }

    /// How text for stdout may look.
    pub(crate) fn style(&self) -> Style {
        self.stdout
    }

    /// Writes text to stdout.
    ///
    /// # Errors
    /// Stdout cannot be written; a reader that is gone gives [`io::ErrorKind::BrokenPipe`].
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes a value to stdout as indented JSON.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn json<T: Serialize + ?Sized>(&self, value: &T) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.print(&text)
    }

    /// Writes a line to stderr. One that cannot be written is let go: there is nobody left to tell.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Writes why a command failed, and after an empty line what to do about it.
    pub(crate) fn error(&self, message: &str, hint: Option<&str>) {
        self.note(&format!("{} {message}", self.stderr.paint(Tone::Bad, "error:")));
        if let Some(hint) = hint {
            self.note(&format!("\n{} {hint}", self.stderr.paint(Tone::Head, "hint:")));
        }
    }
}
