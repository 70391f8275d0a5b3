//! Compiles the programs with clang and generates Rust's view of them.
//!
//! Needs clang and the kernel's user-space headers (Debian: `clang`, `linux-libc-dev`); libbpf's own headers come with
//! `libbpf-cargo`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let bpf = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    build(&bpf.join("programs/shoal.bpf.c"), "shoal", &bpf);
    // Only tests embed this one.
    build(&bpf.join("tests/tunnel_test.bpf.c"), "tunnel_test", &bpf);
    for source in ["include", "programs", "tests/tunnel_test.bpf.c"] {
        println!("cargo:rerun-if-changed={}", bpf.join(source).display());
    }
}

/// Leaves `NAME.bpf.o` and `NAME.skel.rs` in the build's output folder.
fn build(source: &Path, name: &str, bpf: &Path) {
    let out = PathBuf::from(variable("OUT_DIR"));
    let root = fs::canonicalize(bpf).unwrap_or_else(|error| stop(&format!("{}: {error}", bpf.display())));
    let arguments = [
        "-mcpu=v3".into(), // atomics that return a value: Linux 5.12
        "-Wall".into(),
        "-Wextra".into(),
        "-Werror".into(),
        "-Wno-unused-parameter".into(),
        "-Wno-unused-function".into(), // a header serves programs that use a part of it
        format!("-I{}", root.join("include").display()),
        format!("-I{}", root.join("programs").display()),
        // Debian keeps <asm/types.h> in a folder per architecture, where clang does not look for the target "bpf".
        format!("-idirafter/usr/include/{}-linux-gnu", variable("CARGO_CFG_TARGET_ARCH")),
        // The same object from whatever folder it is built in.
        format!("-ffile-prefix-map={}=bpf", root.display()),
        "-fdebug-compilation-dir=.".into(),
    ];
    SkeletonBuilder::new()
        .source(root.join(source.strip_prefix(bpf).unwrap_or(source)))
        .obj(out.join(format!("{name}.bpf.o")))
        .clang_args(arguments)
        .build_and_generate(out.join(format!("{name}.skel.rs")))
        .unwrap_or_else(|error| stop(&format!("{error:#}")));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| stop(&format!("{name} is not set: run this through cargo")))
}

fn stop(reason: &str) -> ! {
    println!("cargo:warning=cannot build the eBPF programs: install clang and linux-libc-dev");
    eprintln!("{reason}");
    std::process::exit(1)
}
