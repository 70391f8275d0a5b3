//! What proves membership.

use shoal_trust::{Certificate, Token};

/// A certificate that can be read has one form, and judging it returns.
pub(crate) fn certificate(bytes: &[u8]) {
    let Ok(certificate) = Certificate::decode(bytes) else { return };
    assert_eq!(certificate.encode(), bytes, "a certificate has one form");
    let _ = certificate.is_signed_by(&certificate.key);
}

/// A token that can be read is the one that would be shown.
pub(crate) fn join_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = text.parse::<Token>() else { return };
    let again: Token = token.reveal().parse().expect("a token that was shown can be read");
    assert!(again == token, "a token reads back as it was shown");
}
