//! `make demo`: three hosts on this machine, one network across them, a small shop on it, and what can go wrong.
//!
//! ```text
//!   browser on h1 ──http──▶ front (h3) ──▶ Redis (h1): how many visitors
//!                                      └─▶ PostgreSQL (h2): what was sold
//! ```
//!
//! Every step runs real commands on real dockerds and stops the demonstration if it does not prove what it says.
//! `KEEP=1` leaves all of it up.

mod picture;
mod shop;
mod stage;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use shoal_netbed::Bed;

use crate::stage::Stage;

fn main() -> ExitCode {
    let mut stage = Stage::new();
    match play(&mut stage) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stage.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn play(stage: &mut Stage) -> Result<()> {
    stage.title("Shoal: one network across plain Docker hosts");
    stage.note("Redis, PostgreSQL and Python are packed from Debian's packages into images; the first time takes a minute.");
    let images = shop::Images::pack()?;
    let bed = Bed::builder(3).without_dockerd().quiet().build()?;
    let played = steps::all(stage, &bed, &images);
    if played.is_err() {
        stage.logs(&bed);
    }
    played?;
    if std::env::var_os("KEEP").is_some_and(|keep| keep != "0" && !keep.is_empty()) {
        return keep(stage, bed);
    }
    let name = bed.name().clone();
    drop(bed);
    let left = shoal_netbed::remains_of(&name);
    anyhow::ensure!(left.is_empty(), "the demonstration has left behind: {left:?}");
    stage.end("All of it is gone again: hosts, daemons, containers, links. KEEP=1 make demo leaves it up.");
    Ok(())
}

fn keep(stage: &Stage, bed: Bed) -> Result<()> {
    let here = std::env::current_exe()?;
    let netbed = here.ancestors().nth(2).map(|folder| folder.join("netbed")).unwrap_or_default();
    let netbed = netbed.display();
    bed.keep()?;
    stage.end("It is still up. Look around:");
    stage.note(&format!(
        "  {netbed} enter h1                         a shell on a host\n  \
           {netbed} enter h1 docker ps\n  \
           {netbed} enter h2 shoal status\n  \
           {netbed} enter h2 shoal endpoints\n  \
           {netbed} enter h1 curl http://172.31.0.3:8080/\n\
         and end it with\n  make demo-down"
    ));
    Ok(())
}
