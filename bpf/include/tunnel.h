// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Into a tunnel and out of it.
 *
 * Two shapes of device lead to other hosts. A VXLAN device (RFC 7348) takes and gives outer addresses and network as
 * metadata of each packet; whether its socket lies on the underlay, in clear, or in a namespace with WireGuard is all
 * the same here. A TAP device leads to an engine in user space, which has no metadata: there the frame's own hardware
 * addresses say it, which no network needs for anything else.
 *
 *     destination   02:00:h0:h1:h2:h3      IPv4 outer address of the other end, in both directions
 *     source        02:00:00:v0:v1:v2      network (VXLAN id), in network order
 *
 * Both have the bit of local addresses and not that of groups. */
#pragma once

#include "counters.h"
#include "icmp.h"
#include "packet.h"

/* The network of path probes (Vni::PROBE): what a path carries is being measured, so its packets are not held to it. */
#define VNI_PROBE 1

struct frame_key {
	__u8 to_prefix[2]; /* 02:00 */
	__u8 host[4];
	__u8 from_prefix[3]; /* 02:00:00 */
	__u8 vni[3];
};

_Static_assert(sizeof(struct frame_key) == 12, "the hardware addresses of a frame");

/* Whether a device exists. A redirect to one that does not is lost without a count. */
static __always_inline bool is_there(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mtu = 0;

	/* Asked for the device only: that a packet is too long for it is a positive number. 0 would mean this device. */
	return ifindex && bpf_check_mtu(skb, ifindex, &mtu, 0, 0) >= 0;
}

/* Gives a VXLAN device network and outer addresses. 0, or a negated reason.
 *
 * Both outer addresses are set: left to the routing table, the source could be one that the other host does not know
 * us by. The UDP checksum is left out over IPv4, where the inner packet has its own and zero is allowed; over IPv6 it
 * must be there. The underlay may not fragment. */
static __always_inline int write_metadata(struct __sk_buff *skb, __u32 vni, const struct address *host,
					  const struct peer *peer)
{
	struct bpf_tunnel_key key = { .tunnel_id = vni, .tunnel_ttl = 64 };
	__u64 flags = BPF_F_DONT_FRAGMENT;

	if (address_is_v4(host)) {
		key.remote_ipv4 = bpf_ntohl(host->words[3]);
		key.local_ipv4 = bpf_ntohl(peer->local.words[3]);
		flags |= BPF_F_ZERO_CSUM_TX;
	} else {
		__builtin_memcpy(key.remote_ipv6, host, sizeof(key.remote_ipv6));
		__builtin_memcpy(key.local_ipv6, &peer->local, sizeof(key.local_ipv6));
		flags |= BPF_F_TUNINFO_IPV6;
	}
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags) ? -DROP_KERNEL : 0;
}

/* Gives an engine network and outer address. 0, or a negated reason. The other end's address of IPv6 has no room, so
 * no TAP leads there. */
static __always_inline int write_frame(struct __sk_buff *skb, __u32 vni, const struct address *host)
{
	struct frame_key key = {
		.to_prefix = { 0x02, 0x00 },
		.from_prefix = { 0x02, 0x00, 0x00 },
		.vni = { vni >> 16, vni >> 8, vni },
	};

	if (!address_is_v4(host))
		return -DROP_NO_TUNNEL;
	__builtin_memcpy(key.host, &host->words[3], sizeof(key.host));
	return bpf_skb_store_bytes(skb, 0, &key, sizeof(key), 0) ? -DROP_KERNEL : 0;
}

/* Whether a link may use a way: both in clear, or neither. 0, or a negated reason. The plan never asks for anything
 * else; this is the second lock. */
static __always_inline int check_way_out(const struct link *link, const struct peer *peer)
{
	bool link_in_clear = link->flags & LINK_IN_CLEAR, way_in_clear = peer->flags & PEER_IN_CLEAR;

	if (link_in_clear == way_in_clear)
		return 0;
	return way_in_clear ? -DROP_PATH_IN_CLEAR : -DROP_PATH_ENCRYPTED;
}

/* Sends the packet to another host. The verdict, or a negated reason. */
static __always_inline int send_to_peer(struct __sk_buff *skb, const struct link *link, const struct packet *packet,
					const struct address *host)
{
	struct peer *peer = bpf_map_lookup_elem(&peers_2, host);
	int failed;

	if (!peer)
		return -DROP_UNKNOWN_PEER;
	failed = check_way_out(link, peer);
	if (failed)
		return failed;
	if (link->vni != VNI_PROBE && wire_length(skb, packet) > peer->mtu)
		return complain_too_big(skb, packet, peer->mtu);
	if (!is_there(skb, peer->ifindex))
		return -DROP_NO_TUNNEL;
	if (peer->flags & PEER_FRAMED)
		failed = write_frame(skb, link->vni, host);
	else
		failed = write_metadata(skb, link->vni, host, peer);
	if (failed)
		return failed;
	skb->mark = 0;
	count_sent(skb, skb->ifindex);
	return bpf_redirect(peer->ifindex, 0);
}

/* Reads the network and the outer source of a packet that came out of a VXLAN device. */
static __always_inline bool read_metadata(struct __sk_buff *skb, __u32 *vni, struct address *host)
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

/* Reads the network and the outer source of a packet that came from an engine. */
static __always_inline bool read_frame(struct __sk_buff *skb, __u32 *vni, struct address *host)
{
	struct frame_key key;
	__be32 v4;

	if (bpf_skb_load_bytes(skb, 0, &key, sizeof(key)))
		return false;
	if (key.to_prefix[0] != 0x02 || key.to_prefix[1] || key.from_prefix[0] != 0x02 || key.from_prefix[1] ||
	    key.from_prefix[2])
		return false;
	__builtin_memcpy(&v4, key.host, sizeof(v4));
	*host = address_from_v4(v4);
	*vni = (__u32)key.vni[0] << 16 | (__u32)key.vni[1] << 8 | key.vni[2];
	return true;
}
