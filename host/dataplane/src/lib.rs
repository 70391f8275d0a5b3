//! eBPF: loads, pins, attaches, fills maps, reads them back.
