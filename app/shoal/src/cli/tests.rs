//! The command line as a whole: what is refused, and that the reference is complete.

use clap::{Command, CommandFactory, Parser};

use super::args::Args;

fn refused(line: &str) -> String {
    Args::try_parse_from(format!("shoal {line}").split_whitespace()).unwrap_err().to_string()
}

#[test]
fn the_command_line_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_was_typed() {
    let table = [
        ("token --ttl 0", "invalid value '0' for '--ttl <TIME>': give a number with s, m, h or d"),
        ("join", "required arguments were not provided"),
        ("join a:0 t", "invalid value 'a:0' for '<ADDR[:PORT]>': \"0\" is not a UDP port"),
        ("join a t --advertise x", "invalid value 'x' for '--advertise <ADDR>'"),
        ("init --name a_b", "\"a_b\" cannot be a host's name"),
        ("hosts -o yaml", "possible values: table, json"),
        ("network create a/b", "\"a/b\" cannot be a network's name"),
        ("network create a --subnet 10.1.2.3/16", "the prefix is 10.1.0.0/16"),
        ("network create a --aux-address 10.0.0.1", "give NAME=ADDR"),
        ("network create a --label =x", "give KEY=VALUE"),
        ("network delete", "required arguments were not provided"),
        ("networks", "a similar subcommand exists: 'network'"),
        ("status --sokcet /x", "a similar argument exists: '--socket'"),
        ("completions tcsh", "possible values: bash, elvish, fish"),
    ];
    for (line, expected) in table {
        let error = refused(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn short_and_long_names_mean_the_same() {
    for line in ["network ls -o json", "network rm a b", "network create a -o x=y", "endpoints --output json"]
    {
        assert!(Args::try_parse_from(format!("shoal {line}").split(' ')).is_ok(), "{line}");
    }
}

#[test]
fn the_socket_may_stand_before_and_after_a_command() {
    for line in ["--socket /x network list", "network --socket /x list", "network list --socket /x"] {
        let args = Args::try_parse_from(format!("shoal {line}").split(' ')).unwrap();
        assert_eq!(args.global.socket, Some("/x".into()), "{line}");
    }
}

#[test]
fn every_command_and_flag_is_in_the_reference() {
    let page = include_str!("../../../../docs/reference/cli.md");
    let mut command = Args::command();
    command.build();
    documented(&command, page);
}

/// Every command has a section that is headed by its name and holds its flags and arguments.
fn documented(command: &Command, page: &str) {
    let name = command.get_bin_name().unwrap_or("shoal");
    let section = section(page, name).unwrap_or_else(|| panic!("`{name}` has no section"));
    for arg in command.get_arguments().filter(|arg| !arg.is_global_set() || name == "shoal") {
        let shown = match arg.get_long() {
            Some("help") => continue,
            Some(long) => format!("--{long}"),
            None => arg.get_value_names().map_or_else(String::new, |names| names[0].to_string()),
        };
        assert!(section.contains(&shown), "the section of `{name}` lacks {shown}");
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        documented(inner, page);
    }
}

fn section<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n## `{name}`"))?;
    Some(rest.split_once("\n## ").map_or(rest, |(section, _)| section))
}
