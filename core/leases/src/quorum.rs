//! How many witnesses it takes.
//!
//! The owner counts as one of `w + 1` and never votes against itself. A taker needs a majority of all; an owner needs
//! so many witnesses on its side that the others are no majority. So any votes that suffice and any word that suffices
//! have a witness in common, and two sets of votes that suffice do too. With one witness no votes suffice: of a fabric
//! of two nobody ever takes over, and its hosts need nobody's word.

/// Votes that end a lease with so many witnesses.
pub const fn votes_needed(witnesses: usize) -> usize {
    witnesses.div_ceil(2) + 1
}

/// Witnesses that must hold an owner's wish, of `witnesses` of which `out` will never vote again.
pub const fn acks_needed(witnesses: usize, out: usize) -> usize {
    (witnesses + 1).saturating_sub(votes_needed(witnesses) + out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_a_majority_of_all_and_meet_every_sufficient_word() {
        for witnesses in 0..=15 {
            let votes = votes_needed(witnesses);
            assert!(2 * votes > witnesses + 1, "{witnesses}: a majority of the owner and its witnesses");
            assert!(2 * votes - 2 <= witnesses + 1, "{witnesses}: the least one");
            assert!(votes + acks_needed(witnesses, 0) > witnesses, "{witnesses}: they have one in common");
            assert!(acks_needed(witnesses, 0) <= witnesses);
        }
    }

    #[test]
    fn a_pair_takes_nothing_from_each_other_and_needs_no_word() {
        assert_eq!((votes_needed(1), acks_needed(1, 0)), (2, 0));
        assert_eq!((votes_needed(0), acks_needed(0, 0)), (1, 0));
        assert_eq!((votes_needed(2), acks_needed(2, 0)), (2, 1));
        assert_eq!((votes_needed(4), acks_needed(4, 0), acks_needed(4, 2)), (3, 2, 0));
    }
}
