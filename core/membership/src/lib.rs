//! Who is alive: SWIM membership without clock or socket.
