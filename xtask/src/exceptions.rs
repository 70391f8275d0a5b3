//! Exceptions to rules, each with its reason, from `xtask/exceptions.toml`.

use serde::Deserialize;

use crate::{Finding, Tree};

const PATH: &str = "xtask/exceptions.toml";

/// All exceptions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions {
    /// Files that may be longer.
    #[serde(default)]
    pub(crate) long_file: Vec<Long>,
    /// Functions that may be longer.
    #[serde(default)]
    pub(crate) long_function: Vec<LongFunction>,
    /// Files that may hold what a pure crate must not.
    #[serde(default)]
    pub(crate) impure: Vec<Allowed>,
    /// Crates that may use `unsafe`.
    #[serde(default)]
    pub(crate) unsafe_code: Vec<Allowed>,
}

/// A file with the length it may have: a ratchet, to be turned down only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Long {
    pub(crate) path: String,
    pub(crate) lines: usize,
    pub(crate) reason: String,
}

/// A function with the length it may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongFunction {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) lines: usize,
    pub(crate) reason: String,
}

/// A path that is excepted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowed {
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl Exceptions {
    /// Reads them; a tree without the file has none. A file that cannot be read is a finding of
    /// [`crate::tidy::exceptions_are_needed`].
    pub(crate) fn read(tree: &Tree) -> Self {
        Self::parse(tree).unwrap_or_default()
    }

    /// What is wrong with the file itself: it cannot be read, names nothing, or gives no reason.
    pub(crate) fn faults(tree: &Tree) -> Vec<Finding> {
        let exceptions = match Self::parse(tree) {
            Ok(exceptions) => exceptions,
            Err(error) => return vec![Finding::new(PATH, 0, error)],
        };
        let all = exceptions.all();
        let gone = all.iter().filter(|(path, _)| !tree.has(path));
        let gone =
            gone.map(|(path, _)| Finding::new(PATH, 0, format!("{path} is not there: remove its exception")));
        let mute = all.iter().filter(|(_, reason)| reason.len() < 10);
        let mute =
            mute.map(|(path, _)| Finding::new(PATH, 0, format!("the exception for {path} needs a reason")));
        gone.chain(mute).collect()
    }

    fn parse(tree: &Tree) -> Result<Self, String> {
        toml::from_str(tree.text(PATH).unwrap_or_default()).map_err(|error| error.to_string())
    }

    /// Path and reason of each.
    fn all(&self) -> Vec<(&str, &str)> {
        let files = self.long_file.iter().map(|e| (e.path.as_str(), e.reason.as_str()));
        let functions = self.long_function.iter().map(|e| (e.path.as_str(), e.reason.as_str()));
        let others = self.impure.iter().chain(&self.unsafe_code);
        files.chain(functions).chain(others.map(|e| (e.path.as_str(), e.reason.as_str()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let tree = Tree::of(&[(PATH, text), ("core/x/src/lib.rs", "")]);
        Exceptions::faults(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_exception_needs_a_reason_and_a_file() {
        let entry = |path, reason| format!("[[impure]]\npath = \"{path}\"\nreason = \"{reason}\"\n");
        assert_eq!(faults(&entry("core/x/src/lib.rs", "it has a good one")), [""; 0]);
        assert_eq!(
            faults(&entry("core/x/src/lib.rs", "no")),
            ["the exception for core/x/src/lib.rs needs a reason"]
        );
        assert_eq!(faults(&entry("gone", "it has a good one")), ["gone is not there: remove its exception"]);
        assert_eq!(faults("surprise = 1").len(), 1);
    }
}
