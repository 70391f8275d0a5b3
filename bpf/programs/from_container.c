// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What a container sends: tc ingress of the host's end of its veth pair.
 *
 *     container | eth0 ===== host's end -> [from_container] -+-> back: ARP, neighbour and ICMP answers
 *                                                            +-> another container of this host
 *                                                            +-> a tunnel device
 *                                                            +-> dropped and counted
 *
 * Nothing goes on to the host's stack.
 */
#include "deliver.h"
#include "neighbour.h"
#include "tunnel.h"

static __always_inline bool is_own_source(const struct link *link, const struct packet *packet)
{
	if (packet->is_v4)
		return (link->flags & LINK_HAS_V4) && address_equal(&packet->source, &link->v4);
	return (link->flags & LINK_HAS_V6) && address_equal(&packet->source, &link->v6);
}

static __always_inline bool is_to_a_group(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 first;

	if (address_is_multicast(&packet->destination))
		return true;
	return !bpf_skb_load_bytes(skb, 0, &first, 1) && (first & 1);
}

/* Looks the destination up and sends the packet there. The verdict, or a negated reason. */
static __always_inline int forward(struct __sk_buff *skb, const struct link *link, const struct packet *packet)
{
	struct endpoint_key key = { .vni = link->vni, .address = packet->destination };
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &key);
	int verdict;

	if (!endpoint)
		return complain_unreachable(skb, packet);
	if (!endpoint->ifindex)
		return send_to_peer(skb, link, packet, &endpoint->peer);
	verdict = deliver(skb, endpoint->ifindex);
	if (verdict >= 0)
		count_sent(skb, skb->ifindex);
	return verdict;
}

/* The verdict, or a negated reason. Neighbour discovery goes to groups and may come from link-local addresses, so it is
 * answered first; groups come before sources, as a container's own chatter from link-local addresses is no forgery. */
static __always_inline int handle(struct __sk_buff *skb, const struct link *link)
{
	struct packet packet;
	int failed;

	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return answer_arp(skb, link);
	failed = parse_packet(skb, &packet);
	if (failed)
		return failed;
	if (is_solicitation(skb, &packet))
		return answer_solicitation(skb, link, &packet);
	if (is_to_a_group(skb, &packet))
		return -DROP_MULTICAST;
	if (!is_own_source(link, &packet))
		return -DROP_FORGED_SOURCE;
	return forward(skb, link, &packet);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct link *link = bpf_map_lookup_elem(&links, &ifindex);
	int verdict = link ? handle(skb, link) : -DROP_NO_LINK;

	return verdict < 0 ? drop_at_link(skb, -verdict) : verdict;
}
