//! Links: veth pairs, the tunnel device, routes, through netlink.
