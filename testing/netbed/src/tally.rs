//! What counting streams between containers came to.

use anyhow::{Context, Result};

use crate::capture::Output;

/// What a stream of numbered packets came to, as `netbed-probe` and `ping` report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent.
    pub sent: u64,
    /// Packets that came back or arrived.
    pub received: u64,
}

impl Tally {
    /// Reads the closing line of iputils' ping: "1000 packets transmitted, 1000 received, ...".
    pub fn of_ping(output: &Output) -> Result<Self> {
        let line = output.stdout.lines().find(|line| line.contains(" packets transmitted"));
        let line = line.with_context(|| format!("ping gave no summary: {output}"))?;
        let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        let (sent, received) = (numbers.next(), numbers.next());
        Ok(Self {
            sent: sent.context("no count of sent")?,
            received: received.context("no count of received")?,
        })
    }

    /// Reads the closing line of `netbed-probe`: "sent 10 received 10".
    pub fn of_probe(output: &Output) -> Result<Self> {
        let number = |word: &str| -> Result<u64> {
            let rest = output.stdout.rsplit_once(&format!("{word} ")).map(|(_, rest)| rest);
            let digits = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            digits.with_context(|| format!("the probe gave no count of {word}: {output}"))
        };
        Ok(Self { sent: number("sent")?, received: number("received")? })
    }

    /// Packets that were lost.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}
