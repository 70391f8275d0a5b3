//! The test binaries, built by cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What is built: the binary that encrypts in user space, and the packages whose tests touch the kernel and nothing
/// else.
const BUILDS: [&[&str]; 2] = [
    &["build", "-p", "shoal", "--bins"],
    &["test", "--no-run", "-p", "shoal-abi", "-p", "shoal-links", "-p", "shoal-dataplane"],
];

/// What is built for a measurement.
const BENCHES: [&[&str]; 1] = [&["test", "--no-run", "-p", "shoal-dataplane", "--bench", "kernel_*"]];

/// A test binary.
pub(crate) struct Tests {
    /// `package::binary`, as nextest calls it.
    pub(crate) label: String,
    /// Folder of the package, in which its tests expect to run.
    pub(crate) folder: PathBuf,
    pub(crate) binary: PathBuf,
    /// It measures: what it prints is wanted.
    pub(crate) measures: bool,
}

/// Builds the tests that run on the kernel, and what they start.
pub(crate) fn build() -> Result<Vec<Tests>> {
    built(&BUILDS)
}

/// Builds what measures on the kernel.
pub(crate) fn build_benches() -> Result<Vec<Tests>> {
    built(&BENCHES)
}

fn built(builds: &[&[&str]]) -> Result<Vec<Tests>> {
    let mut tests = Vec::new();
    for build in builds {
        let output = Command::new(env!("CARGO"))
            .args(*build)
            .args(["--locked", "--message-format=json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let text = String::from_utf8(output.stdout).context("cargo's messages are not text")?;
        tests.extend(text.lines().filter_map(test));
    }
    tests.sort_by(|one, other| one.label.cmp(&other.label));
    ensure!(!tests.is_empty(), "cargo names no test binary");
    Ok(tests)
}

/// Reads one of cargo's messages; those of unit tests of libraries have nothing to do with the kernel.
fn test(line: &str) -> Option<Tests> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    let measures = target["kind"] == serde_json::json!(["bench"]);
    let is_kind = measures || target["kind"] == serde_json::json!(["test"]);
    let is_test = message["reason"] == "compiler-artifact" && is_kind;
    let binary = message["executable"].as_str().filter(|_| is_test)?;
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let label = format!("{}::{}", package(&folder), target["name"].as_str()?);
    Some(Tests { label, folder, binary: binary.into(), measures })
}

/// A package is `shoal-<folder name>`.
fn package(folder: &std::path::Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    format!("shoal-{}", name.unwrap_or_default())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
