// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Counting what was forwarded and what was lost. */
#pragma once

#include <linux/pkt_cls.h>

#include "maps.h"

static __always_inline __u32 packets_in(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

static __always_inline void count_sent(const struct __sk_buff *skb, __u32 ifindex)
{
	struct link_counters *counters = bpf_map_lookup_elem(&link_counters, &ifindex);

	if (!counters)
		return;
	counters->sent_packets += packets_in(skb);
	counters->sent_bytes += skb->len;
}

/* False if the link is gone. */
static __always_inline bool count_received(const struct __sk_buff *skb, __u32 ifindex)
{
	struct link_counters *counters = bpf_map_lookup_elem(&link_counters, &ifindex);

	if (!counters)
		return false;
	counters->received_packets += packets_in(skb);
	counters->received_bytes += skb->len;
	return true;
}

/* Counts a loss on a link and gives the verdict. If the map is full, only the verdict. */
static __noinline int drop_at_link(const struct __sk_buff *skb, __u32 reason)
{
	struct drop_key key = { .ifindex = skb->ifindex, .reason = reason };
	__u64 *count = bpf_map_lookup_elem(&drops, &key);
	__u64 first = 0;

	if (!count) {
		/* Two CPUs may race; the loser finds the winner's entry. */
		bpf_map_update_elem(&drops, &key, &first, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&drops, &key);
	}
	if (count)
		*count += packets_in(skb);
	return TC_ACT_SHOT;
}

/* Counts a loss at the tunnel and gives the verdict. */
static __always_inline int drop_at_tunnel(struct __sk_buff *skb, __u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&tunnel_drops, &reason);

	if (count)
		*count += packets_in(skb);
	return TC_ACT_SHOT;
}
