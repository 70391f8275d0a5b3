//! `deps.toml` as values.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Tree;

/// Rings and the edges that do not follow from them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// Rings by name.
    pub(super) rings: BTreeMap<String, Ring>,
    /// Exceptions.
    #[serde(default)]
    pub(super) edges: Vec<Edge>,
    /// Libraries that only code made at build time names.
    #[serde(default)]
    pub(super) generated: Vec<Edge>,
}

/// A ring: all crates in the folder with the ring's name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ring {
    /// Rings ("base") and single crates ("host/ports") that its crates may use.
    pub(super) may_use: Vec<String>,
    /// What the ring is, for messages.
    pub(super) reason: String,
    /// If given, the only libraries its crates may use outside tests, each with its reason.
    pub(super) libraries: Option<BTreeMap<String, String>>,
}

/// A dependency that no ring allows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) reason: String,
}

impl Rules {
    pub(super) fn read(tree: &Tree) -> Result<Self, String> {
        let text = tree.text(super::RULES).ok_or("is not there: it holds the directions between crates")?;
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The ring of a crate's folder: "base" for "base/types", "xtask" for "xtask".
    pub(super) fn ring_of(&self, folder: &str) -> Option<&str> {
        let name = folder.split('/').next()?;
        self.rings.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// Whether a ring's crates may use the crate in the folder `used`.
    pub(super) fn ring_allows(&self, ring: &str, used: &str) -> bool {
        let may_use = self.rings.get(ring).map(|ring| ring.may_use.as_slice()).unwrap_or_default();
        may_use.iter().any(|allowed| allowed == used || Some(allowed.as_str()) == self.ring_of(used))
    }

    /// Whether only code made at build time names the library.
    pub(super) fn is_generated(&self, from: &str, library: &str) -> bool {
        self.generated.iter().any(|edge| edge.from == from && edge.to == library)
    }

    /// Whether the edge is listed.
    pub(super) fn lists(&self, from: &str, to: &str) -> bool {
        self.edges.iter().any(|edge| edge.from == from && edge.to == to)
    }
}
