//! Rules on plain lines.

use crate::{Finding, Tree};

/// Characters. Code is kept at 110 by rustfmt; comments, which it leaves alone, may have ten more. A sentence in a
/// literal stays in one piece, so that who sees it can search for it.
const WIDTH_MAX: usize = 120;

/// Endings of files that people write.
const WRITTEN: &[&str] =
    &[".rs", ".c", ".h", ".md", ".toml", ".sh", ".yml", ".service", ".socket", "Makefile"];

pub(super) fn lines_fit(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(&[".rs", ".c", ".h"]) {
        for (number, line) in file.lines() {
            let width = line.chars().count();
            if width > WIDTH_MAX && !line.contains('"') {
                let message =
                    format!("{width} characters: more than {WIDTH_MAX} do not fit two files side by side");
                findings.push(Finding::new(file.path, number, message));
            }
        }
    }
    findings
}

pub(super) fn lines_end_clean(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(WRITTEN) {
        let unclean = file.lines().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
        findings.extend(
            unclean.map(|(n, _)| Finding::new(file.path, n, "white space at the end makes needless diffs")),
        );
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(Finding::new(
                file.path,
                0,
                "ends without a line feed: tools would join it with the next",
            ));
        }
    }
    findings
}

pub(super) fn no_path_of_a_machine(tree: &Tree) -> Vec<Finding> {
    // Put together here, so that this file does not break its own rule.
    let foreign = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("../sha", "red")];
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| !file.path.starts_with("fuzz/corpus/")) {
        for (number, line) in file.lines() {
            if let Some(path) = foreign.iter().find(|path| line.contains(**path)) {
                let message = format!("\"{path}\" exists on somebody's machine only");
                findings.push(Finding::new(file.path, number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_wide_line_is_found() {
        let text = format!("{}\n{}\n\"{}\"\n", "ä".repeat(120), "a".repeat(121), "a".repeat(121));
        assert_eq!(places(lines_fit, &[("a.rs", &text)]), ["a.rs:2"]);
    }

    #[test]
    fn white_space_at_the_end_is_found() {
        let files = [("a.md", "a\nb \n"), ("b.rs", "a"), ("c.rs", ""), ("d.bin", "a ")];
        assert_eq!(places(lines_end_clean, &files), ["a.md:2", "b.rs:0"]);
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let text = format!("ok\n{}{}\n", "/ho", "me/me/shoal");
        assert_eq!(places(no_path_of_a_machine, &[("a.sh", &text)]), ["a.sh:2"]);
    }
}
