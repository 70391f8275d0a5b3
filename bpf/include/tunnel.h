// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Into the tunnel and out of it: one VXLAN device (RFC 7348) whose outer addresses come with each packet. */
#pragma once

#include "counters.h"
#include "icmp.h"
#include "packet.h"

/* The network of path probes (Vni::PROBE): what a path carries is being measured, so its packets are not held to it. */
#define VNI_PROBE 1

/* Sends the packet to another host. The verdict, or a negated reason.
 *
 * Both outer addresses are set: left to the routing table, the source could be one that the other host does not know
 * us by. The UDP checksum is left out over IPv4, where the inner packet has its own and zero is allowed; over IPv6 it
 * must be there. The underlay may not fragment: `mtu` is what fits. */
static __always_inline int send_to_peer(struct __sk_buff *skb, const struct link *link, const struct packet *packet,
					const struct address *host)
{
	struct bpf_tunnel_key key = { .tunnel_id = link->vni, .tunnel_ttl = 64 };
	struct peer *peer = bpf_map_lookup_elem(&peers, host);
	__u64 flags = BPF_F_DONT_FRAGMENT;
	struct settings *now;
	__u32 first = 0;

	if (!peer)
		return -DROP_UNKNOWN_PEER;
	if (link->vni != VNI_PROBE && wire_length(skb, packet) > peer->mtu)
		return complain_too_big(skb, packet, peer->mtu);
	now = bpf_map_lookup_elem(&settings, &first);
	if (!now || !now->tunnel_ifindex)
		return -DROP_NO_TUNNEL;
	if (address_is_v4(host)) {
		key.remote_ipv4 = bpf_ntohl(host->words[3]);
		key.local_ipv4 = bpf_ntohl(peer->local.words[3]);
		flags |= BPF_F_ZERO_CSUM_TX;
	} else {
		__builtin_memcpy(key.remote_ipv6, host, sizeof(key.remote_ipv6));
		__builtin_memcpy(key.local_ipv6, &peer->local, sizeof(key.local_ipv6));
		flags |= BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return -DROP_KERNEL;
	skb->mark = 0;
	count_sent(skb, skb->ifindex);
	return bpf_redirect(now->tunnel_ifindex, 0);
}

/* Reads the network and the outer source of a packet that came through the tunnel. */
static __always_inline bool read_tunnel(struct __sk_buff *skb, __u32 *vni, struct address *host)
{
	struct bpf_tunnel_key key;

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		*host = address_from_v4(bpf_htonl(key.remote_ipv4));
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
		__builtin_memcpy(host, key.remote_ipv6, sizeof(*host));
	} else {
		return false;
	}
	*vni = key.tunnel_id;
	return true;
}
