//! A certificate: "this key is a member of this fabric, for these days", signed.
//!
//! Layout, big endian, nothing optional, so that one certificate has one form:
//!
//! ```text
//! version 1 | fabric 16 | host 16 | key 32 | not before 8 | not after 8
//!           | issuer kind 1, id 16 | name length 1, name | signature 64
//! ```
//!
//! Times are milliseconds since 1970. The issuer's kind is 0 for the fabric's root (its id is zero) and 1 for a
//! member. The signature (Ed25519) covers [`PURPOSE`] and everything before it.

use std::time::Duration;

use shoal_types::{FabricId, HostId, HostName, WallTime};

use crate::bytes::Reader;
use crate::key::{FabricRoot, HostKey, host_id_of, verify};

const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"shoal certificate\n";
const SIGNATURE_LEN: usize = 64;

/// Who signed a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// The fabric's root key.
    Root,
    /// A member.
    Member(HostId),
}

/// A host's proof of membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The fabric.
    pub fabric: FabricId,
    /// The member; must be the id of `key`, which [`TrustView::judge`](crate::TrustView::judge) checks.
    pub host: HostId,
    /// The member's public key.
    pub key: [u8; 32],
    /// Name for people; not unique.
    pub name: HostName,
    /// Start of validity.
    pub not_before: WallTime,
    /// End of validity.
    pub not_after: WallTime,
    /// Who signed.
    pub issuer: Issuer,
    /// Ed25519, over everything above.
    pub signature: [u8; SIGNATURE_LEN],
}

/// What an issuer is asked to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The fabric.
    pub fabric: FabricId,
    /// The member's public key; the caller has seen a proof of its possession.
    pub key: [u8; 32],
    /// Name for people.
    pub name: HostName,
    /// Start of validity: now, by the issuer's clock.
    pub from: WallTime,
}

/// Bytes that are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the layout of this version.
    #[error("it is not a certificate: {0} bytes that do not fit the form")]
    Malformed(usize),
    /// A later version's layout.
    #[error(
        "it is a certificate of version {0}, and this agent reads version {VERSION}: upgrade the older agent"
    )]
    OtherVersion(u8),
}

impl Certificate {
    /// How long a certificate is valid.
    pub const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
    /// Longest form, bytes (a name of 253 bytes).
    pub const BYTES_MAX: usize = 416;

    /// A certificate signed by the fabric's root.
    pub fn issue_by_root(root: &FabricRoot, claim: Claim) -> Self {
        Self::unsigned(claim, Issuer::Root).signed(|message| root.sign(message))
    }

    /// A certificate signed by a member.
    pub fn issue_by_member(member: &HostKey, claim: Claim) -> Self {
        Self::unsigned(claim, Issuer::Member(member.id())).signed(|message| member.sign(message))
    }

    /// The form in which it travels and is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote. Says nothing about trust.
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        match bytes.first() {
            Some(&VERSION) => read(bytes).ok_or(CertificateError::Malformed(bytes.len())),
            Some(&other) => Err(CertificateError::OtherVersion(other)),
            None => Err(CertificateError::Malformed(0)),
        }
    }

    /// Whether the holder of `issuer_public` signed it.
    pub fn is_signed_by(&self, issuer_public: &[u8; 32]) -> bool {
        verify(issuer_public, &message(&self.body()), &self.signature)
    }

    /// Whether more than half of its life is over, so that it should be renewed.
    pub fn is_due(&self, wall: WallTime) -> bool {
        wall.since(self.not_before) * 2 >= self.not_after.since(self.not_before)
    }

    fn unsigned(claim: Claim, issuer: Issuer) -> Self {
        Self {
            fabric: claim.fabric,
            host: host_id_of(&claim.key),
            key: claim.key,
            name: claim.name,
            not_before: claim.from,
            not_after: claim.from + Self::LIFETIME,
            issuer,
            signature: [0; SIGNATURE_LEN],
        }
    }

    fn signed(mut self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_LEN]) -> Self {
        self.signature = sign(&message(&self.body()));
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.fabric.bytes());
        bytes.extend_from_slice(self.host.bytes());
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.not_before.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.not_after.as_millis().to_be_bytes());
        match &self.issuer {
            Issuer::Root => bytes.extend_from_slice(&[0; 17]),
            Issuer::Member(id) => {
                bytes.push(1);
                bytes.extend_from_slice(id.bytes());
            }
        }
        // A host's name has at most 253 bytes, so its length always fits.
        bytes.push(u8::try_from(self.name.as_str().len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.name.as_str().as_bytes());
        bytes
    }
}

fn message(body: &[u8]) -> Vec<u8> {
    [PURPOSE, body].concat()
}

fn read(bytes: &[u8]) -> Option<Certificate> {
    let mut reader = Reader::new(bytes);
    reader.byte()?;
    let certificate = Certificate {
        fabric: FabricId::new(reader.array()?),
        host: HostId::new(reader.array()?),
        key: reader.array()?,
        not_before: WallTime::from_millis(reader.number()?),
        not_after: WallTime::from_millis(reader.number()?),
        issuer: read_issuer(&mut reader)?,
        name: read_name(&mut reader)?,
        signature: reader.array()?,
    };
    reader.is_empty().then_some(certificate)
}

fn read_issuer(reader: &mut Reader<'_>) -> Option<Issuer> {
    let (kind, id): (u8, [u8; 16]) = (reader.byte()?, reader.array()?);
    match kind {
        0 if id == [0; 16] => Some(Issuer::Root),
        1 => Some(Issuer::Member(HostId::new(id))),
        _ => None,
    }
}

fn read_name(reader: &mut Reader<'_>) -> Option<HostName> {
    let length = usize::from(reader.byte()?);
    std::str::from_utf8(reader.take(length)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(name: &str, from: u64) -> Certificate {
        let root = FabricRoot::from_seed([9; 32]);
        let claim = Claim {
            fabric: root.id(),
            key: HostKey::from_seed([1; 32]).public(),
            name: name.parse().unwrap(),
            from: WallTime::from_millis(from),
        };
        Certificate::issue_by_member(&HostKey::from_seed([2; 32]), claim)
    }

    #[test]
    fn the_longest_certificate_fits_its_limit() {
        assert!(certificate(&"n".repeat(253), 0).encode().len() <= Certificate::BYTES_MAX);
    }

    #[test]
    fn a_certificate_of_a_later_version_says_so() {
        let mut bytes = certificate("web", 0).encode();
        bytes[0] = 2;
        assert_eq!(Certificate::decode(&bytes), Err(CertificateError::OtherVersion(2)));
    }

    #[test]
    fn a_certificate_is_due_from_half_of_its_life() {
        let certificate = certificate("web", 1_000);
        let half = certificate.not_before + Certificate::LIFETIME / 2;
        assert!(!certificate.is_due(WallTime::from_millis(half.as_millis() - 1)));
        assert!(certificate.is_due(half));
    }

    #[test]
    fn no_bit_can_be_flipped() {
        let issuer = HostKey::from_seed([2; 32]).public();
        let good = certificate("web-1", 1_700_000_000_000).encode();
        assert!(Certificate::decode(&good).unwrap().is_signed_by(&issuer));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let accepted = Certificate::decode(&bad).is_ok_and(|read| read.is_signed_by(&issuer));
            assert!(!accepted, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(name in "[a-z0-9][a-z0-9.-]{0,60}", from in any::<u64>()) {
            let certificate = certificate(&name, from);
            prop_assert_eq!(Certificate::decode(&certificate.encode()), Ok(certificate));
        }

        #[test]
        fn random_bytes_do_no_harm_and_have_one_form(mut bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(read) = Certificate::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }

        #[test]
        fn a_cut_or_longer_certificate_is_refused(cut in 0_usize..200, extra in any::<u8>()) {
            let mut bytes = certificate("web", 5).encode();
            let short = &bytes[..cut.min(bytes.len() - 1)];
            prop_assert!(Certificate::decode(short).is_err());
            bytes.push(extra);
            prop_assert!(Certificate::decode(&bytes).is_err());
        }
    }
}
