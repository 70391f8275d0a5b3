//! Looks after beds from outside of tests: removes what dead ones left, checks that nothing is left, enters a host of
//! one that was kept.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage:
  netbed sweep                     remove what beds have left whose owner is dead
  netbed leftovers                 list such remains; exit code 1 if there are any
  netbed pack                      pack the image that scenarios use, ahead of them
  netbed hold NUMBER               lay out so many Docker hosts; they stay until this is interrupted and swept
  netbed down                      end every bed that was kept
  netbed enter HOST [COMMAND...]   run a command (a shell) on a host of the kept bed";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match answer(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["sweep"] => shoal_netbed::sweep()?,
        ["leftovers"] => {
            let left = shoal_netbed::leftovers();
            left.iter().for_each(|line| println!("{line}"));
            return Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        ["pack"] => drop(shoal_netbed::probe_image()?),
        ["hold", hosts] => hold(hosts.parse()?)?,
        ["down"] => shoal_netbed::take_down()?.iter().for_each(|name| println!("{name} is gone")),
        ["enter", host, command @ ..] => enter(host, command)?,
        _ => bail!("{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the bed's name once it stands.
fn hold(hosts: usize) -> Result<()> {
    let bed = shoal_netbed::Bed::new(hosts)?;
    println!("{}", bed.name());
    for host in bed.hosts() {
        eprintln!("{}: nsenter -t {} -n -m -u", host.name(), host.pid());
    }
    loop {
        std::thread::park();
    }
}

fn enter(host: &str, command: &[&str]) -> Result<()> {
    let holder = shoal_netbed::kept_host(host).with_context(|| format!("no kept bed has a host {host}"))?;
    let mut entered = Command::new("nsenter");
    entered.args(["-t", &holder.to_string(), "-n", "-m", "-u", "--"]);
    entered.args(if command.is_empty() { &["bash"] } else { command });
    // `shoal` is the one that was built beside this program.
    let here = std::env::current_exe()?;
    let folders = std::env::var("PATH").unwrap_or_default();
    if let Some(folder) = here.parent() {
        entered.env("PATH", format!("{}:{folders}", folder.display()));
    }
    // Returns only if it fails.
    Err(entered.exec().into())
}
