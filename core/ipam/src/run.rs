//! Runs of addresses, as numbers of one family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shoal_types::IpNet;

/// The address family a number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The address with this number. An IPv4 number beyond 32 bits cannot arise from one.
    pub(crate) fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// The number of an address within its family.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// An inclusive run of addresses as numbers; never empty, so both ends of the space can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    first: u128,
    last: u128,
}

impl Run {
    /// `None` if `last` lies below `first`.
    pub const fn new(first: u128, last: u128) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// One address.
    pub const fn single(number: u128) -> Self {
        Self { first: number, last: number }
    }

    /// All addresses of a prefix.
    pub fn of_prefix(prefix: &IpNet) -> Self {
        Self { first: number(prefix.network()), last: number(prefix.broadcast()) }
    }

    /// `None` if the ends are of two families or in the wrong order.
    pub fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        if first.is_ipv4() != last.is_ipv4() {
            return None;
        }
        Self::new(number(first), number(last))
    }

    /// The lowest number.
    pub const fn first(&self) -> u128 {
        self.first
    }

    /// The highest number.
    pub const fn last(&self) -> u128 {
        self.last
    }

    /// How many addresses; the whole IPv6 space, one too many for the type, counts as one less.
    pub const fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether the number lies in the run.
    pub const fn contains(&self, number: u128) -> bool {
        self.first <= number && number <= self.last
    }

    /// The part that both runs have.
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The parts below and above `other`.
    pub fn without(&self, other: &Self) -> [Option<Self>; 2] {
        if self.overlap(other).is_none() {
            return [Some(*self), None];
        }
        let below = other.first.checked_sub(1).and_then(|end| Self::new(self.first, end));
        let above = other.last.checked_add(1).and_then(|start| Self::new(start, self.last));
        [below, above]
    }

    /// The `size` highest addresses, or the whole run if it has no more than that; `size` is at least 1.
    pub(crate) fn tail(&self, size: u128) -> Self {
        let first = self.last.saturating_sub(size.saturating_sub(1));
        Self { first: first.max(self.first), last: self.last }
    }

    /// The part from `number` on.
    pub(crate) fn starting_at(&self, number: u128) -> Option<Self> {
        Self::new(self.first.max(number), self.last)
    }

    /// What is left of the run when single addresses are taken out; `holes` ascend.
    pub(crate) fn without_each(&self, holes: impl IntoIterator<Item = u128>) -> Vec<Self> {
        let mut left = Vec::new();
        let mut rest = Some(*self);
        for hole in holes {
            let Some(run) = rest.filter(|run| run.contains(hole)) else { continue };
            let [below, above] = run.without(&Self::single(hole));
            left.extend(below);
            rest = above;
        }
        left.extend(rest);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u128, last: u128) -> Run {
        Run::new(first, last).unwrap()
    }

    #[test]
    fn both_ends_of_the_space_can_be_cut_away() {
        let all = run(0, u128::MAX);
        assert_eq!(all.without(&Run::single(0)), [None, Some(run(1, u128::MAX))]);
        assert_eq!(all.without(&Run::single(u128::MAX)), [Some(run(0, u128::MAX - 1)), None]);
        assert_eq!(all.without(&all), [None, None]);
        assert_eq!(all.size(), u128::MAX);
    }

    #[test]
    fn a_run_without_another_one_elsewhere_is_unchanged() {
        assert_eq!(run(4, 8).without(&run(9, 12)), [Some(run(4, 8)), None]);
        assert_eq!(run(4, 8).without(&run(0, 3)), [Some(run(4, 8)), None]);
    }

    #[test]
    fn holes_split_a_run() {
        assert_eq!(run(4, 8).without_each([4, 6, 8]), [Run::single(5), Run::single(7)]);
        assert_eq!(run(4, 5).without_each([4, 5]), []);
        assert_eq!(run(4, 5).without_each([9]), [run(4, 5)]);
    }

    #[test]
    fn a_tail_is_never_longer_than_its_run() {
        assert_eq!(run(4, 8).tail(2), run(7, 8));
        assert_eq!(run(0, 3).tail(100), run(0, 3));
    }
}
