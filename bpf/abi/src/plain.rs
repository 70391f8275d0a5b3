//! Structs of the kernel as bytes.

use crate::{DropKey, Endpoint, EndpointKey, Link, LinkCounters, Peer, UnderlayAddress};

/// A value that is nothing but its bytes: no padding, and every pattern of bits is a value.
pub trait Plain: Copy {
    /// The bytes as the kernel keeps them.
    fn to_bytes(&self) -> Vec<u8>;

    /// Reads bytes that the kernel gave; `None` if their number is not that of the struct.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Implements [`Plain`] for a generated struct whose fields fill the size given.
macro_rules! plain {
    ($($name:ident: $size:literal),* $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size, "the size that maps.h asserts");

        #[allow(unsafe_code, reason = "generated structs have no safe view as bytes")]
        impl Plain for $name {
            fn to_bytes(&self) -> Vec<u8> {
                // SAFETY: the struct has no padding (its fields fill the asserted size), so all bytes are initialised.
                unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast::<u8>(), $size) }.to_vec()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                if bytes.len() != $size {
                    return None;
                }
                // SAFETY: the length was checked, and the fields are integers and arrays of them: any bytes will do.
                Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast::<Self>()) })
            }
        }
    )*};
}

impl Plain for u32 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_ne_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_ne_bytes)
    }
}

impl Plain for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_ne_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_ne_bytes)
    }
}

plain! {
    UnderlayAddress: 16, EndpointKey: 20, Endpoint: 20, Link: 48, Peer: 40, LinkCounters: 32, DropKey: 8,
}
