//! `shoal token`: prints a join token.

use std::net::IpAddr;

use shoal_api::{Command, Token};

use super::Exit;
use super::args;
use super::error::CommandError;
use super::session::Session;
use crate::output::human;

/// The port that `shoal join` takes when none is given.
const USUAL_PORT: u16 = 7373;

/// Prints the token alone on stdout; what to do with it on stderr.
pub(super) async fn run(args: &args::Token, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let token: Token = session.ask(&Command::Token { ttl_s: args.ttl.as_secs() }).await?;
    let member = member(&token);
    session.note(&format!(
        "A secret, valid for {}. On the host that is to join, as root:\n\n    shoal join {member} TOKEN\n",
        human::duration(args.ttl)
    ));
    session.say(&format!("{}\n", token.token))?;
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
