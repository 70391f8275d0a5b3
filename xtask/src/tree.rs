//! The files of the tree, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Every file that belongs to the project, by path from the root with "/" between folders.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// One file.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Path from the root.
    pub path: &'a str,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: &'a str,
}

/// What holds no sources at any depth: build output and version control, whose folder is a file in a further work tree.
const SKIPPED: [&str; 4] = [".git", "target", "dist", "node_modules"];

impl Tree {
    /// Reads the workspace that this program was built from.
    pub fn read_workspace() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("xtask lies in a folder of the workspace")?;
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A tree made up for a test: paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if is_skipped(&name) {
                continue;
            }
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
                self.files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(())
    }

    /// All files in order of their paths.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        self.files.iter().map(|(path, text)| File { path, text })
    }

    /// Files whose name ends with one of `endings`.
    pub fn ending(&self, endings: &'static [&'static str]) -> impl Iterator<Item = File<'_>> {
        self.files().filter(|file| endings.iter().any(|ending| file.path.ends_with(ending)))
    }

    /// Files in a folder ("base/"), at any depth.
    pub fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = File<'a>> {
        self.files().filter(move |file| file.path.starts_with(folder))
    }

    /// The text of a file, if it is there.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is such a file or a folder with files in it.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty() || self.files.contains_key(path) || self.under(&folder).next().is_some()
    }
}

impl<'a> File<'a> {
    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines of production code: none of a file that is a test, else those before a test module that ends the file.
    pub fn production_lines(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let none = self.is_test();
        let mut after_cfg_test = false;
        self.lines().take_while(move |(_, line)| {
            let module_starts = after_cfg_test && line.starts_with("mod ") && line.ends_with('{');
            after_cfg_test = line.starts_with("#[cfg(test)]");
            !none && !module_starts
        })
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("testing/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }
}

fn is_skipped(name: &str) -> bool {
    SKIPPED.contains(&name) || name.starts_with("target-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_ends_where_the_test_module_starts() {
        let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod tests {\n    c\n}\n";
        let file = File { path: "core/x/src/lib.rs", text };
        let lines: Vec<usize> = file.production_lines().map(|(number, _)| number).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
        assert_eq!(File { path: "core/x/tests/t.rs", text }.production_lines().count(), 0);
    }

    #[test]
    fn a_folder_is_there_when_it_holds_a_file() {
        let tree = Tree::of(&[("docs/a/b.md", "")]);
        assert!(tree.has("docs/a/b.md") && tree.has("docs/a") && tree.has("docs/"));
        assert!(!tree.has("docs/b"));
    }
}
