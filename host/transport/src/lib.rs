//! QUIC between hosts: one UDP port, mutual TLS, datagrams and streams.
