//! Fuzz targets start from something.

use crate::{Finding, Tree};

pub(super) fn fuzz_targets_have_a_corpus(tree: &Tree) -> Vec<Finding> {
    let manifest = tree.text("fuzz/Cargo.toml").unwrap_or_default();
    let mut findings = Vec::new();
    for target in tree.under("fuzz/fuzz_targets/") {
        let name = target.path.trim_start_matches("fuzz/fuzz_targets/").trim_end_matches(".rs");
        if tree.under(&format!("fuzz/corpus/{name}/")).next().is_none() {
            let message =
                "has no corpus: a fuzzer that starts from nothing finds the length check and stops there";
            findings.push(Finding::new(target.path, 0, message));
        }
        if !manifest.contains(&format!("name = \"{name}\"")) {
            findings.push(Finding::new(target.path, 0, "is not in fuzz/Cargo.toml, so it is never built"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_target_without_a_corpus_or_an_entry_is_found() {
        let files = [
            ("fuzz/Cargo.toml", "name = \"a\"\nname = \"b\"\n"),
            ("fuzz/corpus/a/one", "1"),
            ("fuzz/corpus/c/one", "1"),
            ("fuzz/fuzz_targets/a.rs", ""),
            ("fuzz/fuzz_targets/b.rs", ""),
            ("fuzz/fuzz_targets/c.rs", ""),
        ];
        let found = places(fuzz_targets_have_a_corpus, &files);
        assert_eq!(found, ["fuzz/fuzz_targets/b.rs:0", "fuzz/fuzz_targets/c.rs:0"]);
    }
}
