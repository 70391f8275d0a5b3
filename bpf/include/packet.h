// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Reading headers. Wire formats are declared here, as the kernel's own headers for them drag in the C library. */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "address.h"
#include "drops.h"

#define PROTOCOL_ICMPV6 58

/* What forwarding needs to know of an IP packet. Nothing past the IP header must be there: fragments and IPv6 extension
 * headers pass. */
struct packet {
	struct address source;
	struct address destination;
	__u32 transport; /* offset of what follows the IP header, from the start of the frame */
	__u8 protocol; /* that follows the IP header; for IPv6 it may be an extension */
	bool is_v4;
	bool is_later_fragment; /* IPv4 only: carries no transport header */
};

/* The bytes at an offset, or NULL if the packet is shorter. Invalidates pointers got before. */
static __always_inline void *bytes_at(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	void *data = (void *)(long)skb->data;

	if (data + offset + length <= (void *)(long)skb->data_end)
		return data + offset;
	if (bpf_skb_pull_data(skb, offset + length))
		return NULL;
	data = (void *)(long)skb->data;
	if (data + offset + length > (void *)(long)skb->data_end)
		return NULL;
	return data + offset;
}

/* Whether a length field fits the packet: no longer than the frame. Packets above 64 KiB, which only exist between the
 * stack and a device, carry 0 (Linux BIG TCP). */
static __always_inline bool length_fits(const struct __sk_buff *skb, __u32 length, __u32 header, __u32 field)
{
	if (!field && skb->gso_size)
		return true;
	return length >= header && ETH_HLEN + length <= skb->len;
}

static __always_inline int parse_v4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr *ip = bytes_at(skb, ETH_HLEN, sizeof(*ip));
	__u32 length, header;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return -DROP_MALFORMED;
	length = bpf_ntohs(ip->tot_len);
	header = ip->ihl * 4;
	if (!length_fits(skb, length, header, length))
		return -DROP_MALFORMED;
	packet->is_v4 = true;
	packet->source = address_from_v4(ip->saddr);
	packet->destination = address_from_v4(ip->daddr);
	packet->protocol = ip->protocol;
	packet->transport = ETH_HLEN + header;
	packet->is_later_fragment = ip->frag_off & bpf_htons(0x1fff);
	return 0;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr *ip = bytes_at(skb, ETH_HLEN, sizeof(*ip));
	__u32 length;

	if (!ip || ip->version != 6)
		return -DROP_MALFORMED;
	length = bpf_ntohs(ip->payload_len);
	if (!length_fits(skb, sizeof(*ip) + length, sizeof(*ip), length))
		return -DROP_MALFORMED;
	packet->is_v4 = false;
	__builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
	packet->protocol = ip->nexthdr;
	packet->transport = ETH_HLEN + sizeof(*ip);
	packet->is_later_fragment = false;
	return 0;
}

/* Reads an IP packet; 0, or the negated reason why it is none. A frame that says IPv6 may not carry a mapped IPv4
 * address: in the maps it would be that IPv4 address. */
static __always_inline int parse_packet(struct __sk_buff *skb, struct packet *packet)
{
	int error;

	if (skb->vlan_present)
		return -DROP_NOT_IP;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, packet);
	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return -DROP_NOT_IP;
	error = parse_v6(skb, packet);
	if (error)
		return error;
	if (address_is_v4(&packet->source) || address_is_v4(&packet->destination))
		return -DROP_FORGED_SOURCE;
	return 0;
}

/* Bytes of IP packet that a wire will see: of the largest segment if the packet is yet to be segmented. */
static __always_inline __u32 wire_length(struct __sk_buff *skb, const struct packet *packet)
{
	/* Without options and extensions; a wrong guess lets a packet pass that the underlay then drops. */
	__u32 transport_header = 20;
	__u8 offset;

	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (packet->protocol == IPPROTO_UDP)
		transport_header = 8;
	else if (packet->protocol == IPPROTO_TCP && !bpf_skb_load_bytes(skb, packet->transport + 12, &offset, 1))
		transport_header = (offset >> 4) * 4;
	return packet->transport - ETH_HLEN + transport_header + skb->gso_size;
}
