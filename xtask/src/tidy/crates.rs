//! Rules on how a crate is laid out.

use crate::exceptions::Exceptions;
use crate::{File, Finding, Tree};

pub(super) fn crates_take_the_workspaces_lints(tree: &Tree) -> Vec<Finding> {
    let members = tree.ending(&["/Cargo.toml"]).filter(|file| !file.path.starts_with("fuzz/"));
    let without = members.filter(|file| !file.text.contains("[lints]\nworkspace = true\n"));
    let message = "needs \"[lints] workspace = true\": rules that hold in one crate only are no rules";
    without.map(|file| Finding::new(file.path, 0, message)).collect()
}

/// `unsafe_code` is denied; a crate that must have it says so in the list of exceptions and at each place.
pub(super) fn unsafe_stands_where_it_is_listed(tree: &Tree) -> Vec<Finding> {
    let exceptions = Exceptions::read(tree);
    let is_listed = |file: &File<'_>| exceptions.unsafe_code.iter().any(|e| file.path.starts_with(&e.path));
    let mut findings = Vec::new();
    // Put together here, so that this file does not break its own rule.
    let attribute = concat!("unsafe", "_code");
    for file in tree.ending(&[".rs"]).filter(|file| !is_listed(file)) {
        let places = file.lines().filter(|(_, line)| line.contains(attribute) && line.contains("allow("));
        let message =
            "unsafe code outside the crates listed for it: find a safe way, or list it with its reason";
        findings.extend(places.map(|(number, _)| Finding::new(file.path, number, message)));
    }
    findings
}

/// Public types with these names live in files with these names, so that knowing one core is knowing all.
const INSIDE: &[(&str, &str)] = &[
    ("pub enum Event ", "event.rs"),
    ("pub enum Effect ", "effect.rs"),
    ("pub struct View ", "view.rs"),
    ("pub struct View<", "view.rs"),
];

pub(super) fn cores_have_the_same_inside(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.under("core/").filter(|file| file.path.ends_with(".rs")) {
        for (number, line) in file.production_lines() {
            let misplaced =
                INSIDE.iter().filter(|(head, home)| line.starts_with(head) && !file.path.ends_with(home));
            findings.extend(misplaced.map(|(head, home)| {
                Finding::new(
                    file.path,
                    number,
                    format!("`{}` belongs in {home}, as in every core", head.trim_end()),
                )
            }));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_crate_with_lints_of_its_own_is_found() {
        let files = [("a/Cargo.toml", "[lints]\nworkspace = true\n"), ("b/Cargo.toml", "[package]\n")];
        assert_eq!(places(crates_take_the_workspaces_lints, &files), ["b/Cargo.toml:0"]);
    }

    #[test]
    fn unsafe_code_outside_the_listed_crates_is_found() {
        let text = format!("#![allow({}{}, reason = \"\")]\n", "unsafe", "_code");
        let listed = "[[unsafe_code]]\npath = 'host/a/'\nreason = 'calls the kernel'\n";
        let files = [
            ("host/a/src/x.rs", text.as_str()),
            ("host/b/src/x.rs", &text),
            ("xtask/exceptions.toml", listed),
        ];
        assert_eq!(places(unsafe_stands_where_it_is_listed, &files), ["host/b/src/x.rs:1"]);
    }

    #[test]
    fn an_effect_in_another_file_is_found() {
        let files =
            [("core/a/src/effect.rs", "pub enum Effect {\n"), ("core/b/src/lib.rs", "pub enum Effect {\n")];
        assert_eq!(places(cores_have_the_same_inside, &files), ["core/b/src/lib.rs:1"]);
    }
}
