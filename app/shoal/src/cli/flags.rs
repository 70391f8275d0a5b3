//! The flags of `shoal agent`: one for every setting, made from [`KEYS`] so that a setting is described once.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

use shoal_config::{KEYS, Key, Raw};

/// What was typed, by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags(pub(crate) BTreeMap<&'static str, Raw>);

/// Every setting but the socket, which all commands take.
fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.name != "socket")
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.next_help_heading("Settings").args(keys().map(arg)).after_help(
            "Each setting may also stand in the environment (--quic-port as SHOAL_QUIC_PORT) and in the configuration\n\
             file (quic_port = 7373). Flags come first, then the environment, then the file.",
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(keys().filter_map(|key| Some((key.name, raw(key, matches)?))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(key: &'static Key) -> Arg {
    let action = if key.many { ArgAction::Append } else { ArgAction::Set };
    let long = key.flag.trim_start_matches('-');
    Arg::new(key.name).long(long).help(key.help).value_name("VALUE").action(action)
}

fn raw(key: &Key, matches: &ArgMatches) -> Option<Raw> {
    let mut typed = matches.get_many::<String>(key.name)?.cloned();
    if key.many {
        return Some(Raw::List(
            typed.flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>()).collect(),
        ));
    }
    typed.next().map(Raw::Text)
}
