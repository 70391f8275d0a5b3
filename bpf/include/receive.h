// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What all programs at tunnel devices have in common: who may send what to whom.
 *
 * - The outer source is a peer, and of the device's own kind: one that is reached in clear if the device is in clear,
 *   one that is reached encrypted if not. In clear that proves little on an open underlay (UDP's source can be forged,
 *   and a container's own traffic leaves masqueraded as its host); encrypted it does.
 * - The inner source is not known to be elsewhere, that is, on another host: which of a host's outer addresses it is
 *   known behind does not matter, or packets would be lost while keys change, between a host's first packet from its
 *   new address and the last entry that names it. The sender's program has checked it against the link; this is the
 *   second lock, against a host whose program is lost or whose containers speak to the underlay, and it drops what an
 *   endpoint sends by way of a host it has left. A source that is not known at all passes: the first packets of a new
 *   container may overtake the fact that it exists, and dropping them would cost every new connection a retransmission.
 *   A forger gains an address that nobody has, to which no answer is delivered.
 * - The destination is here, and its link of the device's kind: a packet in clear never reaches a container of an
 *   encrypted network.
 *
 * Which kind a device is, its program says. So it is fixed by the very act that puts the device into service, changes
 * with no map, and is gone with the device. Which of several devices of that kind a packet came through does not
 * matter: while keys change, a host is sent to through the new one and may still be heard through the old. */
#pragma once

#include "deliver.h"
#include "tunnel.h"

enum way_in { WAY_IN_CLEAR, WAY_ENCRYPTED, WAY_ENGINE };

static __always_inline bool is_same_host(const struct peer *a, const struct peer *b)
{
	const __u64 *x = (const __u64 *)a->host, *y = (const __u64 *)b->host;

	return x[0] == y[0] && x[1] == y[1];
}

/* Whether an inner source is known to be elsewhere than on the host that `peer` is an address of. */
static __always_inline bool is_foreign(__u32 vni, const struct address *source, const struct address *host,
				       const struct peer *peer)
{
	struct endpoint_key key = { .vni = vni, .address = *source };
	struct endpoint *known = bpf_map_lookup_elem(&endpoints, &key);
	struct peer *home;

	if (!known || (!known->ifindex && address_equal(&known->peer, host)))
		return false;
	if (known->ifindex)
		return true;
	home = bpf_map_lookup_elem(&peers_2, &known->peer);
	return !home || !is_same_host(home, peer);
}

static __always_inline int check_receiver(const struct link *link, bool in_clear)
{
	if (!!(link->flags & LINK_IN_CLEAR) == in_clear)
		return 0;
	return in_clear ? -DROP_CAME_IN_CLEAR : -DROP_CAME_ENCRYPTED;
}

/* Delivers a packet of network `vni` that came from `host`. The verdict, or a negated reason. */
static __always_inline int receive(struct __sk_buff *skb, enum way_in way, __u32 vni, const struct address *host)
{
	struct endpoint_key key = { .vni = vni };
	bool in_clear = way == WAY_IN_CLEAR;
	struct endpoint *endpoint;
	struct packet packet;
	struct link *link;
	struct peer *peer;
	int failed;

	peer = bpf_map_lookup_elem(&peers_2, host);
	if (!peer)
		return -DROP_FOREIGN_HOST;
	if (!!(peer->flags & PEER_IN_CLEAR) != in_clear)
		return -DROP_FOREIGN_TUNNEL;
	failed = parse_packet(skb, &packet);
	if (failed)
		return failed;
	if (is_foreign(vni, &packet.source, host, peer))
		return -DROP_FOREIGN_SOURCE;
	key.address = packet.destination;
	endpoint = bpf_map_lookup_elem(&endpoints, &key);
	if (!endpoint || !endpoint->ifindex)
		return -DROP_NOT_LOCAL;
	link = bpf_map_lookup_elem(&links, &endpoint->ifindex);
	if (!link)
		return -DROP_NO_RECEIVER;
	failed = check_receiver(link, in_clear);
	if (failed)
		return failed;
	/* No container is told outer addresses. */
	if (way == WAY_ENGINE && address_frame(skb, link))
		return -DROP_KERNEL;
	return deliver(skb, endpoint->ifindex);
}

/* The verdict on what came out of a VXLAN device. */
static __always_inline int take_from_vxlan(struct __sk_buff *skb, enum way_in way)
{
	struct address host;
	__u32 vni;
	int verdict = read_metadata(skb, &vni, &host) ? receive(skb, way, vni, &host) : -DROP_NO_TUNNEL_KEY;

	return verdict < 0 ? drop_at_tunnel(skb, -verdict) : verdict;
}
