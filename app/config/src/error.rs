//! Settings that cannot be used.

use std::fmt::Write as _;
use std::path::Path;

use shoal_api::SettingSource;

/// A setting that cannot be used: where it stands and what is wrong, one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}")]
pub struct ConfigError {
    /// Ends in ": " unless it is empty.
    place: String,
    problem: String,
}

impl ConfigError {
    pub(crate) fn new(source: &SettingSource, key: &str, problem: impl AsRef<str>) -> Self {
        let problem = problem.as_ref();
        let problem = match source {
            // The flag or variable has named the key already.
            SettingSource::Flag { .. } | SettingSource::Environment { .. } => problem.to_owned(),
            SettingSource::File { .. } | SettingSource::Default => format!("{key}: {problem}"),
        };
        Self { place: format!("{}: ", place(source)), problem }
    }

    pub(crate) fn at_line(path: &Path, line: u32, problem: String) -> Self {
        let source = SettingSource::File { path: path.to_owned(), line };
        Self { place: format!("{}: ", place(&source)), problem }
    }

    pub(crate) fn together(problem: String) -> Self {
        Self { place: String::new(), problem }
    }

    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self { place: String::new(), problem: format!("cannot read {}: {error}", path.display()) }
    }
}

/// Where a setting stands, for people.
pub fn place(source: &SettingSource) -> String {
    match source {
        SettingSource::Default => "default".to_owned(),
        SettingSource::File { path, line } => format!("{}, line {line}", path.display()),
        SettingSource::Environment { variable } => variable.clone(),
        SettingSource::Flag { flag } => flag.clone(),
    }
}

/// A sentence for a key that does not exist.
pub(crate) fn unknown_key(name: &str, known: &[&str]) -> String {
    let mut sentence = format!("\"{name}\" is not a setting; ");
    match nearest(name, known.iter().copied()) {
        Some(nearest) => {
            let _ = write!(sentence, "the nearest is \"{nearest}\"");
        }
        None => {
            let _ = write!(sentence, "there are {}", known.join(", "));
        }
    }
    sentence
}

/// The known name that differs in the fewest letters, unless it differs in more than a third of them.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = known.map(|known| (distance(name, known), known)).min()?;
    (distance * 3 <= name.chars().count().max(3)).then_some(nearest)
}

/// Edits of one letter between two words (Levenshtein, 1966), by the usual table, one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named_only_if_it_is_near() {
        let known = ["quic_port", "vxlan_port", "name"];
        assert_eq!(nearest("quick_port", known.into_iter()), Some("quic_port"));
        assert_eq!(nearest("nmae", known.into_iter()), None, "two letters of four are too many");
        assert_eq!(nearest("nam", known.into_iter()), Some("name"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
