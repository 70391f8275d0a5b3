//! `shoal addresses`: which host owns which addresses.

use std::time::Duration;

use shoal_api::{AddressRange, AddressShare, Command, LeaseInfo};

use super::Exit;
use super::error::CommandError;
use super::session::Session;
use crate::output::{Format, Style, Table, human};

/// Prints the list.
pub(super) async fn run(format: Format, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let shares: Vec<AddressShare> = session.ask(&Command::Addresses).await?;
    session.print(format, shares.as_slice(), text)?;
    Ok(Exit::Success)
}

fn text(shares: &[AddressShare], style: Style) -> String {
    let mut table =
        Table::new(["NETWORK", "SUBNET", "HOST", ">OWNED", ">SPARE", ">USED", ">RESTING", "LEASE", "RANGES"]);
    for share in shares {
        table.row([
            share.network.to_string(),
            share.subnet.to_string(),
            share.host.to_string(),
            owned(share.owned),
            owned(share.spare),
            share.used.to_string(),
            share.resting.map_or_else(|| "-".to_owned(), |resting| resting.to_string()),
            lease(share),
            ranges(&share.ranges),
        ]);
    }
    table.render(style, "No network has addresses yet.")
}

/// How the owner's lease stands, and whose addresses it took over.
fn lease(share: &AddressShare) -> String {
    let state = match &share.lease {
        _ if share.forgotten => "forgotten".to_owned(),
        None => "-".to_owned(),
        Some(LeaseInfo { left_s: None, .. }) => "endless".to_owned(),
        Some(LeaseInfo { left_s: Some(0), votes, .. }) => format!("ended, {}", human::count(*votes, "vote")),
        Some(LeaseInfo { left_s: Some(left), .. }) => human::duration(Duration::from_secs(*left)),
    };
    match share.taken_from.is_empty() {
        true => state,
        false => format!("{state}; took over from {}", share.taken_from.join(", ")),
    }
}

/// Large IPv6 ranges as the power of two that they are nearest to.
fn owned(owned: u64) -> String {
    match owned {
        u64::MAX => "2^64".to_owned(),
        many if many >= 1 << 32 => format!("2^{}", many.ilog2()),
        few => few.to_string(),
    }
}

fn ranges(ranges: &[AddressRange]) -> String {
    let text = |range: &AddressRange| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    };
    human::list(ranges.iter().map(text))
}
