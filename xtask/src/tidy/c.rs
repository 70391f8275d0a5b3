//! Rules on the kernel programs' C.

use crate::{Finding, Tree};

const LICENCE: &str = "// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause\n";
const DROPS: &str = "bpf/include/drops.h";

pub(super) fn c_files_name_their_licence(tree: &Tree) -> Vec<Finding> {
    let without = tree.ending(&[".c", ".h"]).filter(|file| !file.text.starts_with(LICENCE));
    let message = "must start with the SPDX line of the other C files: the C has a licence of its own";
    without.map(|file| Finding::new(file.path, 1, message)).collect()
}

/// Every reason carries its name and a sentence, and a page for people names it.
pub(super) fn every_drop_is_explained(tree: &Tree) -> Vec<Finding> {
    let Some(header) = tree.files().find(|file| file.path == DROPS) else { return Vec::new() };
    let mut findings = Vec::new();
    let reasons =
        header.lines().filter(|(_, line)| line.trim_start().starts_with("DROP_") && line.contains(" = "));
    for (number, line) in reasons {
        let comment =
            line.trim_end_matches(" */").split_once("/* ").and_then(|(_, rest)| rest.split_once(": "));
        let Some((name, sentence)) = comment.filter(|(_, sentence)| sentence.len() > 10) else {
            findings.push(Finding::new(
                DROPS,
                number,
                "needs \"/* name: sentence */\": a number alone explains nothing",
            ));
            continue;
        };
        let mut pages = tree.under("docs/").filter(|file| file.path.ends_with(".md"));
        if !pages.any(|page| page.text.contains(&format!("`{name}`"))) {
            let message = format!(
                "no page in docs names `{name}` (\"{sentence}\"): people see it in `shoal endpoints`"
            );
            findings.push(Finding::new(DROPS, number, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn c_without_the_licence_is_found() {
        let files = [("bpf/a.c", LICENCE), ("bpf/b.h", "/* */\n")];
        assert_eq!(places(c_files_name_their_licence, &files), ["bpf/b.h:1"]);
    }

    #[test]
    fn a_drop_without_a_sentence_or_a_page_is_found() {
        let header = "enum drop_reason {\n\
                      \tDROP_A = 1, /* not-ip: neither IPv4 nor IPv6 */\n\
                      \tDROP_B = 2,\n\
                      \tDROP_C = 3, /* too-big: larger than the path takes */\n\
                      \tDROP_REASONS, /* one more than the last */\n};\n";
        let files = [(DROPS, header), ("docs/drops.md", "`not-ip`: ...\n")];
        assert_eq!(places(every_drop_is_explained, &files), [format!("{DROPS}:3"), format!("{DROPS}:4")]);
    }
}
