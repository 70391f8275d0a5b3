//! Layout shared with the kernel, generated from the C headers.
