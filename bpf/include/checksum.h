// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The Internet checksum (RFC 1071). */
#pragma once

#include "address.h"

/* Adds bytes to a sum; their number is a multiple of 4. Sums are only ever added up by this: older kernels (6.1)
 * leave 32 bits in them, newer ones 16, and plain addition of the former loses a carry. */
static __always_inline __u32 checksum_add(__u32 sum, const void *bytes, __u32 length)
{
	return bpf_csum_diff(NULL, 0, (__be32 *)bytes, length, sum);
}

static __always_inline __u16 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Adds the pseudo header that ICMPv6 includes (RFC 8200, 8.1). */
static __always_inline __u32 checksum_pseudo_v6(__u32 sum, const void *source, const void *destination, __u32 length,
						__u8 protocol)
{
	__be32 tail[2] = { bpf_htonl(length), bpf_htonl(protocol) };

	sum = checksum_add(sum, source, 16);
	sum = checksum_add(sum, destination, 16);
	return checksum_add(sum, tail, sizeof(tail));
}
