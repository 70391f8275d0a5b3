// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What other hosts send: tc ingress of the tunnel device.
 *
 *     underlay -> VXLAN device -> [from_tunnel] -+-> a container of this host
 *                                                +-> dropped and counted
 *
 * Who may send what:
 * - The outer source is a peer. That alone proves nothing on an open underlay (UDP's source can be forged, and a
 * container's
 *   own traffic leaves masqueraded as its host); where the tunnel is encrypted it does.
 * - The inner source is not known to be elsewhere. The sender's program has checked it against the link; this is
 * the second
 *   lock, against a host whose program is lost or whose containers speak to the underlay, and it drops what an
 * endpoint sends
 *   by way of a host it has left. A source that is not known at all passes: the first packets of a new container
 * may overtake
 *   the fact that it exists, and dropping them would cost every new connection a retransmission. A forger gains an
 * address
 *   that nobody has, to which no answer is delivered.
 */
#include "deliver.h"
#include "tunnel.h"

static __always_inline bool is_foreign(__u32 vni, const struct address *source, const struct address *host)
{
	struct endpoint_key key = { .vni = vni, .address = *source };
	struct endpoint *known = bpf_map_lookup_elem(&endpoints, &key);

	return known && (known->ifindex || !address_equal(&known->peer, host));
}

/* Delivers a packet of network `vni` that came from `host`. The verdict, or a negated reason. */
static __always_inline int receive(struct __sk_buff *skb, __u32 vni, const struct address *host)
{
	struct endpoint_key key = { .vni = vni };
	struct endpoint *endpoint;
	struct packet packet;
	int failed;

	if (!bpf_map_lookup_elem(&peers, host))
		return -DROP_FOREIGN_HOST;
	failed = parse_packet(skb, &packet);
	if (failed)
		return failed;
	if (is_foreign(vni, &packet.source, host))
		return -DROP_FOREIGN_SOURCE;
	key.address = packet.destination;
	endpoint = bpf_map_lookup_elem(&endpoints, &key);
	if (!endpoint || !endpoint->ifindex)
		return -DROP_NOT_LOCAL;
	return deliver(skb, endpoint->ifindex);
}

static __always_inline int take_from_tunnel(struct __sk_buff *skb)
{
	struct address host;
	__u32 vni;
	int verdict = read_tunnel(skb, &vni, &host) ? receive(skb, vni, &host) : -DROP_NO_TUNNEL_KEY;

	return verdict < 0 ? drop_at_tunnel(skb, -verdict) : verdict;
}

SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	return take_from_tunnel(skb);
}
