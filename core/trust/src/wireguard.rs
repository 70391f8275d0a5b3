//! Keys of encrypted tunnels. They prove nothing about who belongs: a host says in a fact, which it signs, which ones
//! are its own.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::hmac;

use crate::key::fixed;

/// The public half of a WireGuard key (X25519, RFC 7748). Any 32 bytes are a private half.
pub fn wireguard_public(secret: &[u8; 32]) -> [u8; 32] {
    let private = PrivateKey::from_private_key(&X25519, secret).ok();
    let public = private.and_then(|private| private.compute_public_key().ok());
    // Neither step fails on 32 bytes; a key of zeros would be refused by every peer.
    public.and_then(|public| public.as_ref().try_into().ok()).unwrap_or_default()
}

/// What two ends mix into their handshakes: HMAC-SHA256 (RFC 2104) under the fabric's secret of a label and both public
/// keys, the lower one first, so that each side computes the same.
pub fn preshared(secret: &[u8; 32], one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let message = [b"shoal pre-shared key".as_slice(), low, high].concat();
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_half_is_the_one_that_wg_pubkey_prints() {
        let public = "13be4feaeaf204c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d";
        let expected = std::array::from_fn(|at| u8::from_str_radix(&public[2 * at..2 * at + 2], 16).unwrap());
        assert_eq!(wireguard_public(&[7; 32]), expected);
    }

    #[test]
    fn both_sides_of_a_pair_derive_the_same_and_no_other_pair_does() {
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        assert_eq!(preshared(&[9; 32], &a, &b), preshared(&[9; 32], &b, &a));
        assert_ne!(preshared(&[9; 32], &a, &b), preshared(&[9; 32], &a, &c));
        assert_ne!(preshared(&[9; 32], &a, &b), preshared(&[8; 32], &a, &b));
    }
}
