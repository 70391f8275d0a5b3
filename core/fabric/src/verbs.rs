//! Docker's verbs and the operator's commands on networks.

use shoal_networks::{EngineReport, NetworkRequest, Refusal, Reply, Verb};
use shoal_types::{NetworkId, NetworkName};

use crate::{At, Effect, Fabric};

impl Fabric {
    /// Decides a verb of dockerd. The reply holds only if all effects were carried out.
    pub fn verb(&mut self, verb: Verb, at: At) -> (Vec<Effect>, Result<Reply, Refusal>) {
        if self.member.is_none() && is_request(&verb) {
            let sentence = "this host belongs to no fabric yet: run `shoal init`, or `shoal join` with a token from a member";
            return (Vec::new(), Err(Refusal(sentence.into())));
        }
        let wants = is_request(&verb);
        let (effects, reply) = self.networks.verb(verb, at);
        // dockerd takes back what it was refused.
        let refused = self.has_no_room(&effects).filter(|_| wants).map(|error| Refusal(error.to_string()));
        (self.carry_networks(effects, at), refused.map_or(reply, Err))
    }

    /// Takes in what the container engine answered or told.
    pub fn engine(&mut self, report: EngineReport, at: At) -> Vec<Effect> {
        if self.member.is_none() {
            return Vec::new();
        }
        let effects = self.networks.engine(report, at);
        self.carry_networks(effects, at)
    }

    /// `shoal network create`.
    ///
    /// # Errors
    /// A sentence why not.
    pub fn create_network(
        &mut self,
        request: NetworkRequest,
        at: At,
    ) -> Result<(NetworkId, Vec<Effect>), Refusal> {
        self.must_be_member()?;
        let mut effects = Vec::new();
        let network = self.networks.create(request, at, &mut effects)?;
        Ok((network, self.carry_command(effects, at)?))
    }

    /// `shoal network delete`.
    ///
    /// # Errors
    /// A sentence why not.
    pub fn delete_network(
        &mut self,
        name: &NetworkName,
        at: At,
    ) -> Result<(NetworkId, Vec<Effect>), Refusal> {
        self.must_be_member()?;
        let mut effects = Vec::new();
        let network = self.networks.delete(name, at, &mut effects)?;
        Ok((network, self.carry_command(effects, at)?))
    }

    /// Carries on what a command decided, unless the fabric cannot be told of it.
    fn carry_command(
        &mut self,
        mut effects: Vec<shoal_networks::Effect>,
        at: At,
    ) -> Result<Vec<Effect>, Refusal> {
        match self.take_back_untold(&mut effects, at) {
            None => Ok(self.carry_networks(effects, at)),
            Some(error) => {
                self.left_over.append(&mut effects);
                self.next_reconcile = at.now;
                Err(Refusal(error.to_string()))
            }
        }
    }

    fn must_be_member(&self) -> Result<(), Refusal> {
        let sentence = "this host belongs to no fabric yet: run `shoal init`, or `shoal join` with a token from a member";
        if self.member.is_some() { Ok(()) } else { Err(Refusal(sentence.into())) }
    }
}

/// Whether a verb wants something; the others only let go, which is always possible.
fn is_request(verb: &Verb) -> bool {
    match verb {
        Verb::RequestPool { .. }
        | Verb::RequestAddress { .. }
        | Verb::CreateNetwork { .. }
        | Verb::CreateEndpoint { .. }
        | Verb::Join { .. } => true,
        Verb::ReleasePool { .. }
        | Verb::ReleaseAddress { .. }
        | Verb::DeleteNetwork { .. }
        | Verb::DeleteEndpoint { .. }
        | Verb::Leave { .. }
        | Verb::EndpointInfo { .. } => false,
    }
}
