//! Who belongs to a fabric: keys, certificates, join tokens.
//!
//! A host is its key: its id is a hash of the public half, so an id cannot be claimed without the key. A
//! [`Certificate`] says that a key belongs to a fabric for seven days; the fabric's root signs the first one, any
//! member signs the others and renews them. A [`Token`] lets a new host and a member prove to each other, over a
//! channel that nobody vouches for yet, that they mean the same fabric. [`TrustView`] is what a host knows of all
//! that, and [`TrustView::judge`] the one place where a peer is taken or refused.
//!
//! Nothing here reads a clock or draws a random number: seeds, secrets and the time are arguments.

mod bytes;
mod certificate;
mod key;
mod token;
mod view;
mod wireguard;
mod words;

pub use certificate::{Certificate, CertificateError, Claim, Issuer};
pub use key::{FabricRoot, HostKey, fabric_id_of, host_id_of, verify};
pub use token::{Role, Token, TokenError, Verifier, check_proof, proof, token_name};
pub use view::{Cause, Distrust, TokenRefusal, TrustView};
pub use wireguard::{preshared, wireguard_public};
pub use words::span;
