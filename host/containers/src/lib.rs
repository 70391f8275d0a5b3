//! Docker as a client sees it: networks, containers, events.
