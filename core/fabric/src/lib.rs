//! One host's whole decision maker: composes the cores, events in, effects out.
