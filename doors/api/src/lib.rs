//! The admin API on the agent's own socket.
