//! What does not fit among this host's facts must not hold on this host alone.

use shoal_facts::TooLarge;
use shoal_networks::Effect as NetworksEffect;
use shoal_schema::{Fact, FactKey};
use shoal_types::NetworkId;

use crate::carry::Edits;
use crate::{At, Fabric};

impl Fabric {
    /// Takes edits of networks back that the fabric cannot be told of, and returns why.
    pub(crate) fn take_back_untold(&mut self, effects: &mut Vec<NetworksEffect>, at: At) -> Option<TooLarge> {
        let error = self.has_no_room(effects)?;
        let networks: Vec<NetworkId> = effects.iter().filter_map(network_of).collect();
        effects.retain(|effect| network_of(effect).is_none());
        for network in networks {
            let member = self.member.as_ref()?;
            let key = FactKey::network(network);
            let before = member.facts.get(self.me, key.as_bytes());
            let before = before.and_then(|bytes| Fact::decode(key.as_bytes(), bytes).ok());
            effects.extend(self.networks.take_back(network, before, &error.to_string(), at));
        }
        Some(error)
    }

    /// Whether what would be published does not fit, and why.
    pub(crate) fn has_no_room(&self, effects: &[NetworksEffect]) -> Option<TooLarge> {
        let edit = |effect: &NetworksEffect| match effect {
            NetworksEffect::Publish(fact) => Some((fact.key().into_bytes(), Some(fact.encode()))),
            NetworksEffect::Withdraw(key) => Some((key.as_bytes().to_vec(), None)),
            _ => None,
        };
        let edits: Edits = effects.iter().filter_map(edit).collect();
        if edits.is_empty() {
            return None;
        }
        self.member.as_ref()?.facts.check(&edits).err()
    }
}

fn network_of(effect: &NetworksEffect) -> Option<NetworkId> {
    match effect {
        NetworksEffect::Publish(Fact::Network(network)) => Some(network.id),
        _ => None,
    }
}
