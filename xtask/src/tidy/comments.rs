//! Rules on what stands in comments and attributes.

use crate::{Finding, Tree};

pub(super) fn nothing_is_left_for_later(tree: &Tree) -> Vec<Finding> {
    // Put together here, so that this file does not break its own rule.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut findings = Vec::new();
    for file in tree.ending(&[".rs", ".c", ".h", ".md", ".toml", ".sh", "Makefile"]) {
        for (number, line) in file.lines() {
            let mut parts = line.split(|c: char| !c.is_ascii_alphabetic());
            if let Some(word) = parts.find(|part| words.contains(part)) {
                let message =
                    format!("\"{word}\": do it, or open an issue; a note in the code is read by nobody");
                findings.push(Finding::new(file.path, number, message));
            }
        }
    }
    findings
}

pub(super) fn every_file_tells_what_it_is(tree: &Tree) -> Vec<Finding> {
    // Test modules of a source file are told by the file they test.
    let is_test_module =
        |path: &str| path.contains("/src/") && (path.ends_with("/tests.rs") || path.contains("/tests/"));
    let sources = tree.ending(&[".rs"]).filter(|file| !is_test_module(file.path));
    let mute = sources.filter(|file| !file.text.starts_with("//! "));
    mute.map(|file| {
        Finding::new(file.path, 1, "starts without \"//!\": a reader must know what a file is for")
    })
    .collect()
}

pub(super) fn no_test_is_ignored(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(&[".rs"]) {
        let ignored = file.lines().filter(|(_, line)| line.trim_start().starts_with("#[ignore"));
        let message = "a test that does not run counts as passed: let it fail where it cannot run";
        findings.extend(ignored.map(|(number, _)| Finding::new(file.path, number, message)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_note_for_later_is_found_as_a_word_only() {
        let text = format!("// {}{}: this\n// autodo\n", "TO", "DO");
        assert_eq!(places(nothing_is_left_for_later, &[("a.rs", &text)]), ["a.rs:1"]);
    }

    #[test]
    fn a_file_without_a_story_is_found() {
        let files = [("a.rs", "//! Tells.\n"), ("b.rs", "use std::fmt;\n"), ("b/src/tests.rs", "use a;\n")];
        assert_eq!(places(every_file_tells_what_it_is, &files), ["b.rs:1"]);
    }

    #[test]
    fn an_ignored_test_is_found() {
        assert_eq!(places(no_test_is_ignored, &[("a.rs", "\n    #[ignore = \"slow\"]\n")]), ["a.rs:2"]);
    }
}
