//! What a crate's Cargo.toml says of its dependencies.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::{File, Tree};

/// A crate and what it depends on.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Path of the manifest.
    pub(super) path: String,
    /// The crate's folder.
    pub(super) folder: String,
    /// The package's name.
    pub(super) name: String,
    /// Packages it uses when it runs or is built.
    pub(super) production: BTreeSet<String>,
    /// Packages that only its tests use.
    pub(super) tests: BTreeSet<String>,
    /// Folders outside its own in which it has tests, as `[[test]]` says.
    pub(super) tests_elsewhere: BTreeSet<String>,
    /// Packages whose version it names itself.
    pub(super) own_versions: Vec<String>,
}

impl Manifest {
    /// The manifests of all crates, those outside the workspace too. One that cannot be parsed is cargo's to report.
    pub(super) fn read_all(tree: &Tree) -> Vec<Self> {
        tree.ending(&["/Cargo.toml"]).filter_map(Self::read).collect()
    }

    fn read(file: File<'_>) -> Option<Self> {
        let table: Table = file.text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let section = |key: &str| table.get(key).and_then(Value::as_table).cloned().unwrap_or_default();
        let (normal, build, dev) =
            (section("dependencies"), section("build-dependencies"), section("dev-dependencies"));
        let own = |(_, value): &(&String, &Value)| !takes_from_workspace(value);
        let all = normal.iter().chain(&build).chain(&dev);
        Some(Self {
            tests_elsewhere: tests_elsewhere(file.path, &table),
            path: file.path.to_owned(),
            folder: file.path.trim_end_matches("/Cargo.toml").to_owned(),
            name,
            own_versions: all.filter(own).map(|(name, _)| name.clone()).collect(),
            production: normal.keys().chain(build.keys()).cloned().collect(),
            tests: dev.keys().filter(|name| !normal.contains_key(*name)).cloned().collect(),
        })
    }

    /// Folders of those of `all` that this crate uses, tests included.
    pub(super) fn used_folders<'a>(&self, all: &'a [Self]) -> Vec<&'a str> {
        let is_used =
            |other: &&Self| self.production.contains(&other.name) || self.tests.contains(&other.name);
        all.iter().filter(is_used).map(|other| other.folder.as_str()).collect()
    }

    /// Whether the crate is a workspace of its own.
    pub(super) fn is_outside(&self) -> bool {
        self.folder == "fuzz"
    }
}

/// Libraries that the workspace names, our own crates left out.
pub(super) fn workspace_libraries(tree: &Tree) -> BTreeSet<String> {
    let table: Table = tree.text("Cargo.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
    let dependencies = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let Some(dependencies) = dependencies.and_then(Value::as_table) else { return BTreeSet::new() };
    dependencies
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, _)| name.clone())
        .collect()
}

/// Folders of tests whose path leads out of the crate by one step: "../tests/x.rs".
fn tests_elsewhere(manifest: &str, table: &Table) -> BTreeSet<String> {
    let parent = manifest.rsplitn(3, '/').nth(2).unwrap_or_default();
    let tests = table.get("test").and_then(Value::as_array).into_iter().flatten();
    let paths = tests.filter_map(|test| test.get("path")?.as_str()?.strip_prefix("../"));
    paths.filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| format!("{parent}/{folder}/")).collect()
}

fn takes_from_workspace(dependency: &Value) -> bool {
    dependency.get("workspace").and_then(Value::as_bool) == Some(true)
}
