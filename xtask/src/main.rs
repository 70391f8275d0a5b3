//! `cargo xtask tidy` and `cargo xtask deps`: prints what breaks a rule, one place per line, and exits 1 if there is
//! any.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use xtask::{Check, Tree, deps, tidy};

fn main() -> Result<ExitCode> {
    let command = std::env::args().nth(1).context("name a command: tidy, deps")?;
    let checks: &[Check] = match command.as_str() {
        "tidy" => tidy::CHECKS,
        "deps" => deps::CHECKS,
        other => bail!("\"{other}\" is no command: use tidy or deps"),
    };
    let tree = Tree::read_workspace()?;
    let mut found = 0;
    for check in checks {
        for finding in (check.run)(&tree) {
            println!("{finding} [{}]", check.name);
            found += 1;
        }
    }
    if found > 0 {
        eprintln!(
            "{found} places break a rule; exceptions, with reasons, stand in xtask/exceptions.toml and deps.toml"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
