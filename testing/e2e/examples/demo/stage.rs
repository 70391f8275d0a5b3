//! What the person at the terminal sees.

use std::io::IsTerminal;

use anyhow::Result;
use shoal_netbed::{Bed, Host};

/// Prints steps, commands with their output, and what they prove. In colour on a terminal, unless `NO_COLOR` is set.
pub(crate) struct Stage {
    colour: bool,
    step: u32,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const CYAN: &str = "36";

impl Stage {
    pub(crate) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, step: 0 }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n{}\n", self.paint(BOLD, text));
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, text: &str) {
        self.step += 1;
        println!("\n{}", self.paint(BOLD, &format!("{}. {text}", self.step)));
    }

    pub(crate) fn note(&self, text: &str) {
        println!("{}", self.paint(DIM, text));
    }

    /// A picture as it is.
    pub(crate) fn picture(&self, text: &str) {
        println!("\n{text}");
    }

    /// What the step has proved.
    pub(crate) fn proves(&self, text: &str) {
        println!("   {} {text}", self.paint(GREEN, "✔"));
    }

    /// Runs `shoal ARGUMENTS` on a host, shows both, and returns the output.
    pub(crate) fn shoal(&self, host: &Host, arguments: &str) -> Result<String> {
        self.typed(host, &format!("shoal {arguments}"));
        let output = host.shoal(arguments)?;
        self.output(&output);
        Ok(output)
    }

    /// Runs `docker ARGUMENTS` on a host, shows both, and returns the output.
    pub(crate) fn docker(&self, host: &Host, arguments: &str) -> Result<String> {
        self.typed(host, &format!("docker {arguments}"));
        let output = host.docker(arguments)?;
        // A container's long id tells nobody anything.
        self.output(if output.len() == 64 && !output.contains(' ') { &output[..12] } else { &output });
        Ok(output)
    }

    pub(crate) fn typed(&self, host: &Host, command: &str) {
        println!("   {} {}", self.paint(CYAN, &format!("{}#", host.name())), command);
    }

    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            println!("     {}", self.paint(DIM, line));
        }
    }

    pub(crate) fn end(&self, text: &str) {
        println!("\n{}", self.paint(BOLD, text));
    }

    pub(crate) fn failed(&self, error: &anyhow::Error) {
        println!("\n{} {error:#}", self.paint(RED, "The demonstration stops:"));
    }

    /// The end of each agent's log.
    pub(crate) fn logs(&self, bed: &Bed) {
        for host in bed.hosts() {
            let text = std::fs::read_to_string(host.folder().join("agent.log")).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            println!("\n{}", self.paint(RED, &format!("the agent's log on {}", host.name())));
            self.output(&lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
