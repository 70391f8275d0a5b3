//! Addresses of both families in the kernel's one shape.

use std::net::{IpAddr, Ipv6Addr};

use crate::UnderlayAddress;

impl From<IpAddr> for UnderlayAddress {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let (words, _) = octets.as_chunks::<4>();
        let mut shared = Self::default();
        for (to, from) in shared.words.iter_mut().zip(words) {
            *to = u32::from_ne_bytes(*from);
        }
        shared
    }
}

impl From<UnderlayAddress> for IpAddr {
    fn from(address: UnderlayAddress) -> Self {
        let mut octets = [0; 16];
        let (words, _) = octets.as_chunks_mut::<4>();
        for (to, from) in words.iter_mut().zip(address.words) {
            *to = from.to_ne_bytes();
        }
        let v6 = Ipv6Addr::from(octets);
        v6.to_ipv4_mapped().map_or(Self::V6(v6), Self::V4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plain;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        for text in ["10.1.2.3", "fd00::1:2", "0.0.0.0", "255.255.255.255"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(UnderlayAddress::from(address)), address);
        }
    }

    #[test]
    fn ipv4_lies_in_memory_as_a_mapped_address() {
        let address = UnderlayAddress::from("10.1.2.3".parse::<IpAddr>().unwrap());
        assert_eq!(address.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
    }
}
