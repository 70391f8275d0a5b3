//! The directions in which crates may depend on each other, from `deps.toml`.
//!
//! Crates lie in rings, one folder each. A ring names the rings and crates it may use; any other dependency between
//! our crates is an edge that `deps.toml` lists with its reason. A listed edge that no manifest has, or that needs no
//! listing, is an error too, so the list is always the whole truth.

mod manifest;
mod rules;

use crate::{Check, Finding, Tree};
use manifest::Manifest;
use rules::Rules;

/// All rules on dependencies.
pub const CHECKS: &[Check] = &[
    Check { name: "rules_can_be_read", run: rules_can_be_read },
    Check { name: "crates_point_inwards", run: crates_point_inwards },
    Check { name: "listed_edges_are_needed", run: listed_edges_are_needed },
    Check { name: "pure_crates_use_listed_libraries_only", run: pure_crates_use_listed_libraries_only },
    Check { name: "versions_stand_in_one_place", run: versions_stand_in_one_place },
    Check { name: "dependencies_are_used", run: dependencies_are_used },
    Check { name: "every_library_has_its_why", run: every_library_has_its_why },
];

const RULES: &str = "deps.toml";
const DECISION: &str = "docs/decisions/0002-dependencies.md";

fn rules_can_be_read(tree: &Tree) -> Vec<Finding> {
    match Rules::read(tree) {
        Ok(rules) => {
            let mute = rules.edges.iter().chain(&rules.generated).filter(|edge| edge.reason.len() < 10);
            mute.map(|edge| Finding::new(RULES, 0, format!("{} -> {} needs a reason", edge.from, edge.to)))
                .collect()
        }
        Err(error) => vec![Finding::new(RULES, 0, error)],
    }
}

fn crates_point_inwards(tree: &Tree) -> Vec<Finding> {
    let rules = Rules::read(tree).unwrap_or_default();
    let manifests = Manifest::read_all(tree);
    let mut findings = Vec::new();
    for manifest in &manifests {
        let Some(ring) = rules.ring_of(&manifest.folder) else {
            let message = format!("lies in no ring: give its folder a ring in {RULES}");
            findings.push(Finding::new(&manifest.path, 0, message));
            continue;
        };
        for used in manifest.used_folders(&manifests) {
            if !rules.ring_allows(ring, used) && !rules.lists(&manifest.folder, used) {
                let (from, reason) = (&manifest.folder, &rules.rings[ring].reason);
                let message =
                    format!("{from} -> {used} points the wrong way: {reason}; or list the edge in {RULES}");
                findings.push(Finding::new(&manifest.path, 0, message));
            }
        }
    }
    findings
}

fn listed_edges_are_needed(tree: &Tree) -> Vec<Finding> {
    let rules = Rules::read(tree).unwrap_or_default();
    let manifests = Manifest::read_all(tree);
    let exists = |from: &str, to: &str| {
        manifests.iter().any(|m| m.folder == from && m.used_folders(&manifests).contains(&to))
    };
    let needless = rules.edges.iter().filter_map(|edge| {
        let why = if !exists(&edge.from, &edge.to) {
            "is in no manifest: remove it"
        } else if rules.ring_of(&edge.from).is_some_and(|ring| rules.ring_allows(ring, &edge.to)) {
            "is allowed by the ring already: remove it"
        } else {
            return None;
        };
        Some(Finding::new(RULES, 0, format!("{} -> {} {why}", edge.from, edge.to)))
    });
    needless.collect()
}

fn pure_crates_use_listed_libraries_only(tree: &Tree) -> Vec<Finding> {
    let rules = Rules::read(tree).unwrap_or_default();
    let mut findings = Vec::new();
    for manifest in Manifest::read_all(tree) {
        let Some(allowed) =
            rules.ring_of(&manifest.folder).and_then(|ring| rules.rings[ring].libraries.as_ref())
        else {
            continue;
        };
        let foreign = manifest.production.iter().filter(|name| !name.starts_with("shoal-"));
        findings.extend(foreign.filter(|name| !allowed.contains_key(*name)).map(|name| {
            let message =
                format!("{name} is not among the libraries of this ring: list it in {RULES} with its reason");
            Finding::new(&manifest.path, 0, message)
        }));
    }
    findings
}

fn versions_stand_in_one_place(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in Manifest::read_all(tree).iter().filter(|manifest| !manifest.is_outside()) {
        findings.extend(manifest.own_versions.iter().map(|name| {
            let message = format!("{name} has a version of its own: write `{name}.workspace = true`");
            Finding::new(&manifest.path, 0, message)
        }));
    }
    findings
}

/// A dependency whose name stands in no source of the crate costs building time and tells a reader a lie.
fn dependencies_are_used(tree: &Tree) -> Vec<Finding> {
    let rules = Rules::read(tree).unwrap_or_default();
    let mut findings = Vec::new();
    for manifest in Manifest::read_all(tree) {
        let own = format!("{}/", manifest.folder);
        let folders = manifest.tests_elsewhere.iter().chain([&own]);
        let sources = folders.flat_map(|folder| tree.under(folder)).filter(|file| file.path.ends_with(".rs"));
        let sources: Vec<&str> = sources.map(|file| file.text).collect();
        let is_used = |name: &str| sources.iter().any(|text| names_library(text, &name.replace('-', "_")));
        let idle = manifest.production.iter().chain(&manifest.tests).filter(|name| !is_used(name));
        let idle = idle.filter(|name| !rules.is_generated(&manifest.folder, name));
        findings.extend(
            idle.map(|name| Finding::new(&manifest.path, 0, format!("{name} is used nowhere: remove it"))),
        );
    }
    findings
}

/// Whether a text names a library: as the start of a path or in a `use` or `extern crate`.
fn names_library(text: &str, library: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(library).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_name);
        let after = &text[at + library.len()..];
        !before && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

/// Every library of the workspace has a line in the decision on dependencies, and no other has one.
fn every_library_has_its_why(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(DECISION) else { return vec![Finding::new(DECISION, 0, "is not there")] };
    let libraries = manifest::workspace_libraries(tree);
    let explained: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing = libraries.iter().filter(|name| !explained.contains(&name.as_str()));
    let missing = missing.map(|name| Finding::new(DECISION, 0, format!("does not say why {name} is used")));
    let gone = explained.iter().filter(|name| !libraries.contains(**name));
    let gone = gone
        .map(|name| Finding::new(DECISION, 0, format!("explains {name}, which the workspace does not use")));
    missing.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGS: &str = "\
        [rings.base]\nmay_use = []\nreason = 'words'\nlibraries = { serde = 'derives' }\n\
        [rings.core]\nmay_use = ['base']\nreason = 'decides'\n\
        [rings.host]\nmay_use = ['base', 'host/ports']\nreason = 'acts'\n";

    fn manifest(name: &str, uses: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[dependencies]\n{uses}\n")
    }

    /// Findings' messages for crates given as (folder, dependencies).
    fn found(check: fn(&Tree) -> Vec<Finding>, edges: &str, crates: &[(&str, &str)]) -> Vec<String> {
        let name_of = |folder: &str| format!("shoal-{}", folder.rsplit('/').next().unwrap());
        let rules = format!("{RINGS}{edges}");
        let manifests: Vec<(String, String)> =
            crates.iter().map(|(f, uses)| (format!("{f}/Cargo.toml"), manifest(&name_of(f), uses))).collect();
        let mut files = vec![(RULES, rules.as_str())];
        files.extend(manifests.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        check(&Tree::of(&files)).into_iter().map(|finding| finding.message).collect()
    }

    const CRATES: &[(&str, &str)] = &[
        ("base/types", ""),
        ("core/a", "shoal-types.workspace = true"),
        ("core/b", "shoal-a.workspace = true"),
        ("host/ports", "shoal-types.workspace = true"),
        ("host/links", "shoal-ports.workspace = true"),
    ];

    #[test]
    fn an_edge_between_siblings_needs_its_listing() {
        let wrong = found(crates_point_inwards, "", CRATES);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("core/b -> core/a points the wrong way"), "{wrong:?}");
        let listed = "[[edges]]\nfrom = 'core/b'\nto = 'core/a'\nreason = 'composes it with others'\n";
        assert_eq!(found(crates_point_inwards, listed, CRATES), [""; 0]);
        assert_eq!(found(listed_edges_are_needed, listed, CRATES), [""; 0]);
    }

    #[test]
    fn a_listing_without_an_edge_or_without_need_is_found() {
        let listed = "[[edges]]\nfrom = 'core/a'\nto = 'core/b'\nreason = 'there is none such'\n\
                      [[edges]]\nfrom = 'core/a'\nto = 'base/types'\nreason = 'the ring allows it'\n";
        assert_eq!(
            found(listed_edges_are_needed, listed, CRATES),
            [
                "core/a -> core/b is in no manifest: remove it",
                "core/a -> base/types is allowed by the ring already: remove it"
            ]
        );
    }

    #[test]
    fn a_crate_outside_the_rings_is_found() {
        assert_eq!(found(crates_point_inwards, "", &[("misc/x", "")]).len(), 1);
    }

    #[test]
    fn a_library_that_a_pure_ring_does_not_list_is_found() {
        let crates = [
            ("base/types", "serde.workspace = true\ntokio.workspace = true"),
            ("host/ports", "tokio = \"1\""),
        ];
        let wrong = found(pure_crates_use_listed_libraries_only, "", &crates);
        assert!(wrong.len() == 1 && wrong[0].starts_with("tokio is not among"), "{wrong:?}");
        let wrong = found(versions_stand_in_one_place, "", &crates);
        assert_eq!(wrong, ["tokio has a version of its own: write `tokio.workspace = true`"]);
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        assert!(names_library("use serde::Serialize;", "serde"));
        assert!(names_library("#[derive(serde::Serialize)]", "serde"));
        assert!(!names_library("use serde_json::Value;", "serde") && !names_library("my_serde::X", "serde"));
        assert_eq!(found(dependencies_are_used, "", &[("core/a", "serde.workspace = true")]).len(), 1);
    }

    #[test]
    fn tests_beside_the_crate_count_as_its_sources() {
        let text = "[package]\nname = 'x'\n[dev-dependencies]\nnix = {}\n[[test]]\npath = '../tests/a.rs'\n";
        let files = [("bpf/abi/Cargo.toml", text), ("bpf/tests/a.rs", "use nix::mount;")];
        assert_eq!(dependencies_are_used(&Tree::of(&files)), []);
        assert_eq!(dependencies_are_used(&Tree::of(&files[..1])).len(), 1);
    }

    #[test]
    fn a_library_without_its_why_is_found() {
        let workspace = "[workspace.dependencies]\nserde = \"1\"\nshoal-a = { path = \"core/a\" }\n";
        let files = [("Cargo.toml", workspace), (DECISION, "| `tokio` | 1 | waits |\n")];
        let messages: Vec<_> =
            every_library_has_its_why(&Tree::of(&files)).into_iter().map(|f| f.message).collect();
        assert_eq!(
            messages,
            ["does not say why serde is used", "explains tokio, which the workspace does not use"]
        );
    }
}
