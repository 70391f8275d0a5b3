//! Writes the seeds of every target into `fuzz/corpus`, beside what fuzzers found.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use shoal_foreign::TARGETS;

fn main() -> Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in TARGETS {
        let folder = corpora.join(target.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, bytes) in (target.seeds)() {
            let path = folder.join(format!("seed-{name}"));
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
