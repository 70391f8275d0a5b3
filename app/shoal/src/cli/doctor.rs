//! `shoal doctor`: compares kernel, Docker and facts.

use shoal_api::{Check, Command, Doctor};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Tone, human};

/// Prints every comparison; differences make the exit code 1.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let doctor: Doctor = session.ask(&Command::Doctor).await?;
    session.print(format, &doctor, text)?;
    Ok(if doctor.differences == 0 { Exit::Success } else { Exit::Differences })
}

fn text(doctor: &Doctor, style: Style) -> String {
    let width = doctor.checks.iter().map(|check| check.subject.chars().count()).max().unwrap_or(0);
    let mut text: String = doctor.checks.iter().map(|check| line(check, width, style)).collect();
    let checks = human::count(doctor.checks.len(), "check");
    text.push_str(&match doctor.differences {
        0 => format!("\n{checks}, all as it should be.\n"),
        differences => format!("\n{checks}, {}.\n", human::count(differences, "difference")),
    });
    text
}

fn line(check: &Check, width: usize, style: Style) -> String {
    let mark = if check.ok { style.paint(Tone::Good, "ok     ") } else { style.paint(Tone::Bad, "differs") };
    let mut line = format!("{mark}  {:width$}  {}\n", check.subject, check.finding);
    if let Some(mend) = &check.mend {
        line.push_str(&format!("{:9}{:width$}  mend: {mend}\n", "", ""));
    }
    line
}
