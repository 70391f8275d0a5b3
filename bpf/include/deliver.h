// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The last step on the receiver's host. */
#pragma once

#include "counters.h"
#include "packet.h"
#include "settings.h"

#define PACKET_HOST 0

/* Writes the frame's addresses as the container's end of the link expects them: to it, from the fabric. */
static __always_inline long address_frame(struct __sk_buff *skb, const struct link *link)
{
	const __u8 from[6] = FABRIC_MAC;

	return bpf_skb_store_bytes(skb, 0, link->mac, 6, 0) ?: bpf_skb_store_bytes(skb, 6, from, 6, 0);
}

/* Hands the packet to the container behind a link of this host. The verdict, or a negated reason.
 *
 * The frame is addressed to the fabric, so the kernel has marked it as somebody else's; that is undone here. The mark
 * is the sender's host's business and must not reach the receiver's rules. */
static __always_inline int deliver(struct __sk_buff *skb, __u32 ifindex)
{
	struct link *link;

	if (!count_received(skb, ifindex))
		return -DROP_NO_RECEIVER;
	skb->mark = 0;
	if (use_redirect_peer) {
		if (bpf_skb_change_type(skb, PACKET_HOST))
			return -DROP_KERNEL;
		return bpf_redirect_peer(ifindex, 0);
	}
	/* The far end of the pair judges by the frame's address again. */
	link = bpf_map_lookup_elem(&links, &ifindex);
	if (!link)
		return -DROP_NO_RECEIVER;
	if (address_frame(skb, link))
		return -DROP_KERNEL;
	return bpf_redirect(ifindex, 0);
}
