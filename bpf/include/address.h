// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* An address of either family in one shape. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* IPv6 as on the wire, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). The words are in network order. */
struct address {
	__be32 words[4];
};

_Static_assert(sizeof(struct address) == 16, "an address has 16 bytes");

static __always_inline struct address address_from_v4(__be32 v4)
{
	return (struct address){ .words = { 0, 0, bpf_htonl(0xffff), v4 } };
}

static __always_inline bool address_is_v4(const struct address *a)
{
	return !a->words[0] && !a->words[1] && a->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool address_equal(const struct address *a, const struct address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
	       a->words[3] == b->words[3];
}

static __always_inline bool address_is_unspecified(const struct address *a)
{
	return !a->words[0] && !a->words[1] && !a->words[2] && !a->words[3];
}

/* fe80::/10 */
static __always_inline bool address_is_link_local(const struct address *a)
{
	return (a->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* ff00::/8, 224.0.0.0/4 and 255.255.255.255. */
static __always_inline bool address_is_multicast(const struct address *a)
{
	if (address_is_v4(a))
		return (a->words[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || a->words[3] == 0xffffffff;
	return (a->words[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}
