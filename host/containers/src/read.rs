//! Docker's answers, read without a daemon: for a fuzzer, which has only bytes.

use serde::de::DeserializeOwned;

use crate::convert;

/// A question to Docker, by what its answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerAnswer {
    /// `GET /networks`
    Networks,
    /// `GET /networks/ID`
    Network,
    /// `GET /containers/json`
    Containers,
    /// `GET /containers/ID/json`
    Container,
    /// One message of `GET /events`
    Event,
}

impl DockerAnswer {
    /// Every question.
    pub const ALL: [Self; 5] =
        [Self::Networks, Self::Network, Self::Containers, Self::Container, Self::Event];

    /// Reads an answer's JSON as [`Docker`](crate::Docker) does; returns how many things the agent makes of it.
    ///
    /// # Errors
    /// What the client library says of an answer that it does not understand.
    pub fn read(self, json: &[u8]) -> Result<usize, String> {
        Ok(match self {
            Self::Networks => parsed::<Vec<_>>(json)?.into_iter().map(convert::network).count(),
            Self::Network => {
                let found = parsed::<bollard::models::NetworkInspect>(json)?;
                convert::inspected_network(found).subnets.len()
            }
            Self::Containers => containers(&parsed::<Vec<_>>(json)?),
            Self::Container => convert::wishes(parsed(json)?).len(),
            Self::Event => convert::event(parsed(json)?).into_iter().count(),
        })
    }
}

fn containers(summaries: &[bollard::models::ContainerSummary]) -> usize {
    let each = summaries.iter().map(|summary| {
        let container = convert::container(summary.clone());
        let uses = convert::uses_network(summary, &container.id, Some(&container.name));
        let stranded = convert::stranded(summary, &[]);
        convert::attachments(summary).len() + stranded.len() + usize::from(uses)
    });
    each.sum()
}

fn parsed<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
