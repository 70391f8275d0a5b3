//! The Docker plugin protocol: NetworkDriver and IpamDriver.
