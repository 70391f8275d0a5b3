//! `shoal token`: prints a join token, lists those that are open, and revokes them.

use std::net::IpAddr;
use std::time::Duration;

use shoal_api::{Command, OpenToken, Token};

use super::Exit;
use super::args::{self, TokenCommand};
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Table, human};

/// The port that `shoal join` takes when none is given.
const USUAL_PORT: u16 = 7373;

/// Runs one of them.
pub(super) async fn run(args: args::Token, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    match args.command {
        None => make(args.ttl, session).await,
        Some(TokenCommand::List(list)) => print_open(list.output, session).await,
        Some(TokenCommand::Revoke { all: true, .. }) => revoke(None, session).await,
        Some(TokenCommand::Revoke { tokens, .. }) => {
            for token in tokens {
                revoke(Some(token), session).await?;
            }
            Ok(Exit::Success)
        }
    }
}

/// Prints the token alone on stdout; what to do with it on stderr.
async fn make(ttl: Duration, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let token: Token = session.ask(&Command::Token { ttl_s: ttl.as_secs() }).await?;
    let member = member(&token);
    session.note(&format!(
        "A secret, valid for {}, or until `shoal token revoke {}`. On the host that is to join, as root:\n\n    \
         shoal join {member} TOKEN\n",
        human::duration(ttl),
        token.name
    ));
    session.say(&format!("{}\n", token.token))?;
    Ok(Exit::Success)
}

async fn print_open(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let tokens: Vec<OpenToken> = session.ask(&Command::TokenList).await?;
    session.print(format, tokens.as_slice(), text)?;
    Ok(Exit::Success)
}

fn text(tokens: &[OpenToken], style: Style) -> String {
    let mut table = Table::new(["NAME", "MADE BY", ">ENDS IN"]);
    for token in tokens {
        let ends_in = human::duration(Duration::from_secs(token.expires_in_s));
        table.row([token.name.clone(), token.made_by.clone(), ends_in]);
    }
    table.render(style, "No join token is open: make one with `shoal token`.")
}

/// Prints the names of those that ended.
async fn revoke(token: Option<String>, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let names: Vec<String> = session.ask(&Command::TokenRevoke { token }).await?;
    session.say(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    Ok(Exit::Success)
}

/// How `shoal join` is told of this host.
fn member(token: &Token) -> String {
    let Some(address) = token.addresses.first() else { return "ADDR".to_owned() };
    match (address, token.quic_port) {
        (address, USUAL_PORT) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}
