//! Values as typed, and what they mean.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest path of a socket, bytes: Linux holds 107 (`sun_path` without its end), and a socket is made under a name
/// one byte longer before it takes its place.
pub(crate) const SOCKET_PATH_MAX: usize = 106;

/// A value as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A flag's or variable's value, or a string in the file.
    Text(String),
    /// An integer in the file.
    Number(i64),
    /// An array of strings in the file, or a flag that was given several times.
    List(Vec<String>),
}

/// What is logged: messages of this weight and heavier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is wrong but goes on.
    Warn,
    /// What the agent does.
    Info,
    /// How it does it.
    Debug,
    /// Every message between its parts.
    Trace,
}

/// A kernel feature that can be switched off, so that what replaces it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Hand packets for a container of this host straight into its namespace (`bpf_redirect_peer`).
    RedirectPeer,
    /// Read and write many map entries with one call.
    MapBatch,
    /// The kernel's WireGuard; without it a process of Shoal's encrypts.
    WireGuard,
}

impl LogLevel {
    const ALL: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// The directives of a log filter: this level for Shoal's own crates (a target is matched by its beginning), and of
    /// others' no more than warnings.
    pub fn directives(self) -> String {
        let others = if self == Self::Error { self } else { Self::Warn };
        format!("{others},shoal={self}")
    }
}

impl Feature {
    const ALL: [(&'static str, Self); 3] = [
        ("redirect-peer", Self::RedirectPeer),
        ("map-batch", Self::MapBatch),
        ("wireguard", Self::WireGuard),
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(&Self::ALL, self))
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(&Self::ALL, self))
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choice(&Self::ALL, text, "a log level")
    }
}

impl FromStr for Feature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choice(&Self::ALL, text, "a feature that can be switched off")
    }
}

fn word<T: PartialEq>(all: &[(&'static str, T)], wanted: &T) -> &'static str {
    all.iter().find(|(_, value)| value == wanted).map_or("", |(word, _)| word)
}

fn choice<T: Copy>(all: &[(&'static str, T)], text: &str, what: &str) -> Result<T, String> {
    let known: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
    let found = all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("\"{text}\" is not {what}; there are {}", known.join(", ")))
}

impl Raw {
    /// A single word or path.
    pub(crate) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Number(number) => {
                Err(format!("{number} is a number where text is expected: put it in quotes"))
            }
            Self::List(_) => Err("is a list where a single value is expected".to_owned()),
        }
    }

    /// Anything that is read from a single text.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, String> {
        self.text()?.parse().map_err(|error: T::Err| error.to_string())
    }

    /// A list; a single text is split at commas.
    pub(crate) fn list<T: FromStr>(
        &self,
        refused: impl Fn(&str, T::Err) -> String,
    ) -> Result<Vec<T>, String> {
        let words: Vec<String> = match self {
            Self::List(words) => words.clone(),
            Self::Text(text) => text.split(',').map(str::to_owned).collect(),
            Self::Number(_) => return Err("is a number where a list of texts is expected".to_owned()),
        };
        let words = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
        words.map(|word| word.parse().map_err(|error| refused(word, error))).collect()
    }

    /// A whole number from `least` to `most`; `what` says of what.
    pub(crate) fn number(&self, least: u16, most: u16, what: &str) -> Result<u16, String> {
        let (shown, number) = match self {
            Self::Number(number) => (number.to_string(), Some(*number)),
            Self::Text(text) => (format!("\"{text}\""), text.trim().parse().ok()),
            Self::List(_) => ("a list".to_owned(), None),
        };
        let within =
            number.and_then(|number| u16::try_from(number).ok()).filter(|n| (least..=most).contains(n));
        within.ok_or_else(|| format!("{shown} is not {what}: give a number from {least} to {most}"))
    }

    /// A path that starts at the root.
    pub(crate) fn folder(&self) -> Result<PathBuf, String> {
        let text = self.text()?;
        if !text.starts_with('/') {
            return Err(format!("\"{text}\" is not an absolute path: start it with \"/\""));
        }
        Ok(PathBuf::from(text))
    }

    /// A path that a Unix socket can have.
    pub(crate) fn socket(&self) -> Result<PathBuf, String> {
        let path = self.folder()?;
        let length = path.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            return Err(format!("the path has {length} bytes; a socket's may have {SOCKET_PATH_MAX}"));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_crates_log_no_more_than_warnings() {
        assert_eq!(LogLevel::Debug.directives(), "warn,shoal=debug");
        assert_eq!(LogLevel::Error.directives(), "error,shoal=error");
    }
}
