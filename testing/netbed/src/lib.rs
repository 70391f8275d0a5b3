//! Several real Docker hosts on one machine, in namespaces.
