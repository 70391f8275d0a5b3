//! Pages can be found and lead on.

use std::collections::BTreeSet;

use crate::{File, Finding, Tree};

pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.ending(&[".md"]) {
        for (number, target) in links(page) {
            let Some(path) = resolve(page.path, &target) else { continue };
            if !tree.has(&path) {
                findings.push(Finding::new(page.path, number, format!("\"{target}\" leads nowhere")));
                continue;
            }
            let heading = target.split_once('#').map(|(_, heading)| heading);
            let there = |heading: &str| tree.text(&path).is_some_and(|text| headings(text).contains(heading));
            if path.ends_with(".md") && heading.is_some_and(|heading| !there(heading)) {
                findings.push(Finding::new(
                    page.path,
                    number,
                    format!("{path} has no heading for \"{target}\""),
                ));
            }
        }
    }
    findings
}

pub(super) fn every_page_is_linked(tree: &Tree) -> Vec<Finding> {
    let mut linked = BTreeSet::new();
    for page in tree.ending(&[".md"]) {
        for (_, target) in links(page) {
            let Some(path) = resolve(page.path, &target).filter(|path| path != page.path) else { continue };
            // A link to a folder is a link to its index.
            linked.insert(format!("{}/README.md", path.trim_end_matches('/')));
            linked.insert(path);
        }
    }
    let pages = tree.under("docs/").filter(|file| file.path.ends_with(".md"));
    let lonely = pages.filter(|page| !linked.contains(page.path));
    lonely
        .map(|page| Finding::new(page.path, 0, "no page links here: what cannot be found is not read"))
        .collect()
}

/// Code of at least four words in a row of a table is a test's name.
pub(super) fn tests_that_pages_name_exist(tree: &Tree) -> Vec<Finding> {
    let is_name = |code: &str| code.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    let mut findings = Vec::new();
    for page in tree.ending(&[".md"]) {
        for (number, line) in page.lines().filter(|(_, line)| line.starts_with('|')) {
            let codes = line.split('`').skip(1).step_by(2);
            for code in codes.filter(|code| is_name(code) && code.matches('_').count() > 2) {
                let function = format!("fn {code}(");
                if !tree.ending(&[".rs"]).any(|file| file.text.contains(&function)) {
                    findings.push(Finding::new(page.path, number, format!("no test is called {code}")));
                }
            }
        }
    }
    findings
}

/// Targets of links and pictures with their lines, code blocks left out. Both `[text](target)` and `src="target"`.
fn links(page: File<'_>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        // Every second part of a line split at back-ticks is code.
        let prose: String = line.split('`').step_by(2).collect();
        for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            let targets = prose.split(opening).skip(1).filter_map(|rest| rest.split(closing).next());
            found.extend(targets.map(|target| (number, target.to_owned())));
        }
    }
    found
}

/// The path in the tree that a target means; `None` if it leads out of the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Anchors of a page's headings, as forges make them: lower case, "-" for spaces, punctuation dropped.
fn headings(text: &str) -> BTreeSet<String> {
    let heads = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |head: &str| {
        let title = head.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    heads.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_test_that_no_page_may_name_is_found() {
        let page = "| `a_test_that_is_there` | `--flag` `a_name` |\n| `a_test_that_is_gone` |\n`a_b_c_d`\n";
        let files = [("a.md", page), ("a.rs", "fn a_test_that_is_there() {}\n")];
        assert_eq!(places(tests_that_pages_name_exist, &files), ["a.md:2"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let index =
            "[a](a.md) [b](../b.md#one-two) ![c](c.svg)\n`[d](d.md)` [e](https://e)\n[f](../b.md#three)\n";
        let files = [("docs/README.md", index), ("docs/a.md", ""), ("b.md", "## One, two\n")];
        assert_eq!(places(links_lead_somewhere, &files), ["docs/README.md:1", "docs/README.md:3"]);
    }

    #[test]
    fn a_page_without_a_link_to_it_is_found() {
        let files = [
            ("README.md", "[docs](docs)"),
            ("docs/README.md", "[a](a.md)"),
            ("docs/a.md", ""),
            ("docs/b.md", ""),
        ];
        assert_eq!(places(every_page_is_linked, &files), ["docs/b.md:0"]);
    }
}
