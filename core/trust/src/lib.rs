//! Who belongs to a fabric: keys, certificates, join tokens.
