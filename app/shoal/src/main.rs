//! The one binary: agent and command line.

mod agent;
mod cli;
mod output;

fn main() -> std::process::ExitCode {
    cli::main()
}
