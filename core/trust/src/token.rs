//! The join token: what a person carries from a member to a new host.
//!
//! Text: `shoal1-` and 72 characters of base32 (RFC 4648 alphabet, lower case, no padding) over 45 bytes:
//!
//! ```text
//! fabric 16 | secret 20 | expires 5, seconds since 1970, big endian | checksum 4
//! ```
//!
//! The checksum (SHA-256 of the rest, cut) finds slips of the pen; it protects nothing. The secret never crosses the
//! network: members learn the [`Verifier`] through facts, and both sides of a join show a [`proof`] that holds for one
//! TLS channel and one direction only.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use shoal_types::{FabricId, WallTime};
use zeroize::Zeroizing;

use crate::key::fixed;

const PREFIX: &str = "shoal1-";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const SECRET_LEN: usize = 20;
const BODY_LEN: usize = 16 + SECRET_LEN + 5;
const BYTES_LEN: usize = BODY_LEN + 4;
/// 45 bytes are 72 groups of five bits, with none left over.
const TEXT_LEN: usize = BYTES_LEN * 8 / 5;

/// What members know of a token: enough to check a proof and to give one, so a secret among members.
pub type Verifier = [u8; 32];

/// What people call a token by once its text is gone: 8 hexadecimal digits, from which nothing follows.
pub fn token_name(verifier: &Verifier) -> String {
    let hash = digest(&SHA256, &[b"shoal token name\n".as_slice(), verifier].concat());
    shoal_types::hex(&hash.as_ref()[..4])
}

/// A right to join a fabric, until it expires. Whoever holds it can join.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    fabric: FabricId,
    secret: Zeroizing<[u8; SECRET_LEN]>,
    expires_secs: u64,
}

/// Which side of a join gives a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The host that joins.
    Joiner,
    /// The member that lets it in.
    Introducer,
}

/// Text that is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not start as a token does.
    #[error(
        "this is not a join token: one starts with \"{PREFIX}\"; make one with `shoal token` on a member"
    )]
    NotAToken,
    /// It starts as a token of another version does.
    #[error(
        "this join token is of version {0}, and this agent reads version 1: \
         use the same version of Shoal on both hosts"
    )]
    OtherVersion(u32),
    /// Too few characters.
    #[error("this join token is cut off: {got} of {TEXT_LEN} characters after \"{PREFIX}\"; copy it whole")]
    Truncated {
        /// How many there are.
        got: usize,
    },
    /// Too many characters.
    #[error("this join token has {got} characters after \"{PREFIX}\" instead of {TEXT_LEN}; copy it alone")]
    TooLong {
        /// How many there are.
        got: usize,
    },
    /// A character that no token has.
    #[error(
        "this join token has a wrong character, '{found}', in place {place}: letters a-z and digits 2-7 are expected"
    )]
    WrongCharacter {
        /// The character.
        found: char,
        /// Counted from 1, from the start of the text.
        place: usize,
    },
    /// The checksum does not fit.
    #[error("this join token has a typing error somewhere (its checksum does not fit); copy it again")]
    Typo,
}

impl Token {
    /// A token of `fabric` with 20 random bytes as its secret. Expiry is kept in whole seconds, rounded down.
    pub fn new(fabric: FabricId, secret: [u8; SECRET_LEN], expires: WallTime) -> Self {
        // Five bytes of seconds last 34,000 years.
        let expires_secs = (expires.as_millis() / 1_000).min((1 << 40) - 1);
        Self { fabric, secret: Zeroizing::new(secret), expires_secs }
    }

    /// The fabric it opens.
    pub const fn fabric(&self) -> FabricId {
        self.fabric
    }

    /// When it ends.
    pub const fn expires(&self) -> WallTime {
        WallTime::from_millis(self.expires_secs * 1_000)
    }

    /// What members may know of it.
    pub fn verifier(&self) -> Verifier {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.secret);
        let mut context = hmac::Context::with_key(&key);
        context.update(b"shoal token verifier\n");
        context.update(self.fabric.bytes());
        fixed(context.sign().as_ref())
    }

    /// See [`token_name`].
    pub fn name(&self) -> String {
        token_name(&self.verifier())
    }

    /// The text to hand over: one line, 79 characters. It is a secret, hence not `Display`.
    pub fn reveal(&self) -> String {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_LEN));
        bytes.extend_from_slice(self.fabric.bytes());
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&self.expires_secs.to_be_bytes()[3..]);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{PREFIX}{}", base32(&bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// White space around the token is ignored.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(digits) = text.strip_prefix(PREFIX) else { return Err(not_ours(text)) };
        let bytes = Zeroizing::new(unbase32(digits)?);
        match digits.len() {
            TEXT_LEN => read(&bytes).ok_or(TokenError::Typo),
            got if got < TEXT_LEN => Err(TokenError::Truncated { got }),
            got => Err(TokenError::TooLong { got }),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, expires {})", self.fabric.short(), self.expires_secs)
    }
}

/// Proves knowledge of a token to whoever shares the TLS channel with this exporter value (RFC 5705, RFC 8446 7.5).
/// The value differs on the two legs of a man in the middle, so a proof cannot be passed on; the role keeps a proof
/// from being sent back.
pub fn proof(verifier: &Verifier, channel_binding: &[u8; 32], role: Role) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, verifier);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"shoal join proof\n");
    context.update(&[match role {
        Role::Joiner => 1,
        Role::Introducer => 2,
    }]);
    context.update(channel_binding);
    fixed(context.sign().as_ref())
}

/// Whether `shown` is the proof expected, in time that does not depend on where they differ.
pub fn check_proof(verifier: &Verifier, channel_binding: &[u8; 32], role: Role, shown: &[u8; 32]) -> bool {
    verify_slices_are_equal(&proof(verifier, channel_binding, role), shown).is_ok()
}

fn not_ours(text: &str) -> TokenError {
    let version =
        text.strip_prefix("shoal").and_then(|rest| rest.split_once('-')).map(|(version, _)| version);
    match version.and_then(|version| version.parse().ok()) {
        Some(version) if version != 1 => TokenError::OtherVersion(version),
        _ => TokenError::NotAToken,
    }
}

fn read(bytes: &[u8]) -> Option<Token> {
    let (body, sum) = bytes.split_at_checked(BODY_LEN)?;
    if sum != checksum(body) {
        return None;
    }
    let mut reader = crate::bytes::Reader::new(body);
    let fabric = FabricId::new(reader.array()?);
    let secret = Zeroizing::new(reader.array()?);
    let [a, b, c, d, e] = reader.array()?;
    Some(Token { fabric, secret, expires_secs: u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) })
}

fn checksum(body: &[u8]) -> [u8; 4] {
    fixed(digest(&SHA256, &[b"shoal token\n", body].concat()).as_ref())
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(TEXT_LEN);
    for group in bytes.chunks(5) {
        let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        for shift in (0..8).rev() {
            text.push(char::from(ALPHABET[(number >> (5 * shift)) as usize & 31]));
        }
    }
    text
}

/// The whole bytes that the digits hold; what is left of a last, incomplete group of eight is dropped.
fn unbase32(digits: &str) -> Result<Vec<u8>, TokenError> {
    let mut bytes = Vec::with_capacity(BYTES_LEN);
    let mut number = 0_u64;
    for (at, found) in digits.chars().enumerate() {
        let value = ALPHABET.iter().position(|letter| char::from(*letter) == found);
        let wrong = TokenError::WrongCharacter { found, place: PREFIX.len() + at + 1 };
        number = number << 5 | value.ok_or(wrong)? as u64;
        if at % 8 == 7 {
            bytes.extend_from_slice(&number.to_be_bytes()[3..]);
            number = 0;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token::new(FabricId::new([7; 16]), [8; SECRET_LEN], WallTime::from_millis(1_800_000_000_000))
    }

    fn refusal(text: &str) -> String {
        text.parse::<Token>().unwrap_err().to_string()
    }

    #[test]
    fn a_token_is_one_line_of_lower_case_letters_and_digits() {
        let text = token().reveal();
        assert_eq!(text.len(), 79);
        assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let text = token().reveal();
        assert!(refusal("").contains("starts with \"shoal1-\""));
        assert!(refusal("SWMTKN-1-abc").contains("not a join token"));
        assert!(refusal("shoal2-abcd").contains("of version 2"));
        assert!(refusal(&text[..40]).contains("cut off: 33 of 72"));
        assert!(refusal(&format!("{text}aa")).contains("copy it alone"));
        assert!(refusal(&format!("shoal1-0{}", &text[8..])).contains("'0', in place 8"));
        let other = if text.ends_with('a') { "b" } else { "a" };
        assert!(refusal(&format!("{}{other}", &text[..78])).contains("typing error"));
        assert!(refusal(&text.to_uppercase()).contains("not a join token"));
    }

    #[test]
    fn no_bit_of_the_text_can_be_flipped() {
        let good = token().reveal().into_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let text = String::from_utf8_lossy(&bad);
            assert!(text.parse::<Token>().is_err(), "bit {bit}: {text}");
        }
    }

    #[test]
    fn a_proof_holds_for_one_token_one_channel_and_one_direction() {
        let verifier = token().verifier();
        let shown = proof(&verifier, &[1; 32], Role::Joiner);
        assert!(check_proof(&verifier, &[1; 32], Role::Joiner, &shown));
        assert!(!check_proof(&verifier, &[1; 32], Role::Introducer, &shown));
        assert!(!check_proof(&verifier, &[2; 32], Role::Joiner, &shown));
        let other = Token::new(FabricId::new([6; 16]), [8; SECRET_LEN], WallTime::default()).verifier();
        assert!(!check_proof(&other, &[1; 32], Role::Joiner, &shown));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", token()), "Token(07070707, expires 1800000000)");
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(fabric: [u8; 16], secret: [u8; SECRET_LEN], millis: u64) {
            let token = Token::new(FabricId::new(fabric), secret, WallTime::from_millis(millis));
            prop_assert_eq!(token.reveal().parse(), Ok(token));
        }

        #[test]
        fn random_text_does_no_harm(text in ".{0,120}", digits in "[a-z2-7]{60,80}") {
            prop_assert!(text.parse::<Token>().is_err());
            let wrong = format!("{PREFIX}{digits}");
            prop_assert!(wrong.parse::<Token>().is_err());
        }
    }
}
