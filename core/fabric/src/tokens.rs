//! Join tokens: made by one host, checked by all, revoked by any.
//!
//! A token is a fact of the host that made it. Nobody can take back what another host says, so to revoke is to say so:
//! a token is open while its maker tells of it and no host says that it is revoked. Whoever forgets a host revokes
//! every open token with it, since that host knew them all; a maker that hears of the forgetting revokes its own, which
//! may be more.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_facts::Facts;
use shoal_schema::{Fact, FactKey, FactKind, TokenFact};
use shoal_trust::{Token, Verifier, token_name};
use shoal_types::{HostId, WallTime};

use crate::carry::saves_first;
use crate::{At, Effect, Fabric};

/// How long an ended token is told of, so that whoever comes late with it hears how late.
const EXPLAINED_FOR: Duration = Duration::from_secs(86_400);

/// A token with which hosts may join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenToken {
    /// See [`token_name`].
    pub name: String,
    /// The host that made it.
    pub made_by: HostId,
    /// When it ends.
    pub expires: WallTime,
}

impl Fabric {
    /// Makes a join token known to the fabric.
    ///
    /// # Errors
    /// A sentence, if this host belongs to no fabric.
    pub fn token(&mut self, secret: [u8; 20], ttl: Duration, at: At) -> Result<(Token, Vec<Effect>), String> {
        let Some(member) = &self.member else {
            return Err("this host belongs to no fabric yet: run `shoal init` first".into());
        };
        let token = Token::new(member.identity.fabric, secret, at.wall + ttl);
        let fact = TokenFact { verifier: token.verifier(), expires: token.expires(), revoked: false };
        let mut effects = self.drop_old_tokens(at);
        effects.extend(self.publish_facts(&[Fact::Token(fact)], at));
        Ok((token, saves_first(effects)))
    }

    /// The tokens with which a host may join now, by their end.
    pub fn open_tokens(&self, wall: WallTime) -> Vec<OpenToken> {
        let open = self.open_facts(wall).into_iter().map(|(made_by, token)| OpenToken {
            name: token_name(&token.verifier),
            made_by,
            expires: token.expires,
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by(|a, b| (a.expires, &a.name).cmp(&(b.expires, &b.name)));
        open
    }

    /// Ends one open token, called by its name or its own text, or all of them, on every host. Answers with the names.
    ///
    /// # Errors
    /// A sentence, if this host belongs to no fabric or no open token is called so.
    pub fn revoke_tokens(
        &mut self,
        which: Option<&str>,
        at: At,
    ) -> Result<(Vec<String>, Vec<Effect>), String> {
        if self.member.is_none() {
            return Err("this host belongs to no fabric".into());
        }
        let name = which.map(|text| text.parse::<Token>().map_or_else(|_| text.to_owned(), |it| it.name()));
        let mut open: Vec<TokenFact> = self.open_facts(at.wall).into_iter().map(|(_, token)| token).collect();
        open.retain(|token| name.as_ref().is_none_or(|name| *name == token_name(&token.verifier)));
        if let Some(name) = name.filter(|_| open.is_empty()) {
            return Err(format!("the fabric has no open token {name}: `shoal token list` shows them"));
        }
        let names = open.iter().map(|token| token_name(&token.verifier)).collect();
        let mut effects = self.drop_old_tokens(at);
        effects.extend(self.publish_facts(&revoked(open), at));
        Ok((names, saves_first(effects)))
    }

    /// What to say with the word that a host is out, so that no token it knew lets it in again.
    pub(crate) fn tokens_to_revoke(&self, wall: WallTime) -> Vec<Fact> {
        let Some(member) = &self.member else { return Vec::new() };
        let told = tokens_told(&member.facts).filter(|(_, token)| token.expires > wall);
        let by_token: BTreeMap<Verifier, TokenFact> =
            told.map(|(_, token)| (token.verifier, token)).collect();
        revoked(by_token.into_values())
    }

    /// Revokes what this host made before it heard that a host is out: who put that one out may not have known of it.
    pub(crate) fn revoke_own_tokens(&mut self, at: At) -> Vec<Effect> {
        let own: Vec<TokenFact> = self
            .open_facts(at.wall)
            .into_iter()
            .filter(|(maker, _)| *maker == self.me)
            .map(|(_, it)| it)
            .collect();
        self.publish_facts(&revoked(own), at)
    }

    fn open_facts(&self, wall: WallTime) -> Vec<(HostId, TokenFact)> {
        let Some(member) = &self.member else { return Vec::new() };
        let holding = unrevoked(&member.facts);
        let is_open = |token: &TokenFact| token.expires > wall && holding.contains_key(&token.verifier);
        tokens_told(&member.facts).filter(|(_, token)| is_open(token)).collect()
    }

    /// Tokens that ended a day ago need no explanation any more.
    fn drop_old_tokens(&mut self, at: At) -> Vec<Effect> {
        let old =
            self.own_facts(FactKey::kind_prefix(FactKind::Token)).into_iter().filter_map(|fact| match fact {
                Fact::Token(token) if at.wall.since(token.expires) > EXPLAINED_FOR => Some(token.verifier),
                _ => None,
            });
        let keys: Vec<_> = old.map(|verifier| (FactKey::token(&verifier).into_bytes(), None)).collect();
        self.publish(keys, at)
    }
}

/// The tokens that nobody has revoked, ended ones included, with their end.
pub(crate) fn unrevoked(facts: &Facts) -> BTreeMap<Verifier, WallTime> {
    let mut tokens: BTreeMap<_, _> =
        tokens_told(facts).map(|(_, token)| (token.verifier, token.expires)).collect();
    for (_, token) in tokens_told(facts).filter(|(_, token)| token.revoked) {
        tokens.remove(&token.verifier);
    }
    tokens
}

fn tokens_told(facts: &Facts) -> impl Iterator<Item = (HostId, TokenFact)> {
    let told = facts.iter_prefix(FactKey::kind_prefix(FactKind::Token));
    told.filter_map(|(author, key, value)| match Fact::decode(key, value) {
        Ok(Fact::Token(token)) => Some((author, token)),
        _ => None,
    })
}

fn revoked(tokens: impl IntoIterator<Item = TokenFact>) -> Vec<Fact> {
    tokens.into_iter().map(|token| Fact::Token(TokenFact { revoked: true, ..token })).collect()
}
