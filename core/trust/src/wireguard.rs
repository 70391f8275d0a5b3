//! Keys of encrypted tunnels. They prove nothing about who belongs: a host says in a fact, which it signs, which ones are
//! its own.

use aws_lc_rs::agreement::{PrivateKey, X25519};

/// The public half of a WireGuard key (X25519, RFC 7748). Any 32 bytes are a private half.
pub fn wireguard_public(secret: &[u8; 32]) -> [u8; 32] {
    let private = PrivateKey::from_private_key(&X25519, secret).ok();
    let public = private.and_then(|private| private.compute_public_key().ok());
    // Neither step fails on 32 bytes; a key of zeros would be refused by every peer.
    public.and_then(|public| public.as_ref().try_into().ok()).unwrap_or_default()
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
}
