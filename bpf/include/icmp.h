// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Errors told to a container about its own packet: too big (RFC 1191, RFC 8201) and destination unreachable (RFC 792,
 * RFC 4443). The frame is turned into the error and sent back. The error comes from the address the packet was for: a
 * network has no router that the container would know. */
#pragma once

#include "checksum.h"
#include "counters.h"
#include "neighbour.h"
#include "packet.h"

/* Bytes of the packet that an error quotes, at most. Enough for the largest IP and TCP headers, which is what finds the
 * socket; and for the place of a checksum yet to be filled in, below which the kernel does not cut a packet. */
#define QUOTE_MAX 128

/* An error costs more than the packet did, and a scan of a subnet asks for thousands: 100 a second and link, 50 at
 * once. "Too big" is not limited: without it connections hang. */
#define UNREACHABLE_INTERVAL_NS 10000000ULL
#define UNREACHABLE_BURST_NS (50 * UNREACHABLE_INTERVAL_NS)

#define ICMP_UNREACHABLE 3
#define ICMP_HOST_UNREACHABLE 1
#define ICMP_NEEDS_FRAGMENTATION 4
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_ADDRESS_UNREACHABLE 3
#define ICMPV6_TOO_BIG 2

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 detail; /* too big: the MTU; else 0 */
};

struct error_v4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct icmp_header icmp;
} __attribute__((packed));

struct error_v6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp_header icmp;
} __attribute__((packed));

_Static_assert(sizeof(struct error_v4) == 42 && sizeof(struct error_v6) == 62, "as on the wire");

/* Whether an error may be sent about a packet: not about a later fragment, not about another error (RFC 1122, 3.2.2;
 * RFC 4443, 2.4 e). */
static __always_inline bool may_complain(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 type;

	if (packet->is_later_fragment)
		return false;
	if (packet->protocol != (packet->is_v4 ? IPPROTO_ICMP : PROTOCOL_ICMPV6))
		return true;
	if (bpf_skb_load_bytes(skb, packet->transport, &type, 1))
		return false;
	if (packet->is_v4)
		return type == 8 || type == 0 || type == 13 || type == 14;
	return type >= 128;
}

/* Takes one answer from the link's share: the generic cell rate algorithm (ITU-T I.371), whose whole state is one
 * time. */
static __always_inline bool unreachable_allowed(__u32 ifindex)
{
	__u64 now = bpf_ktime_get_ns(), fresh = 0, used_until, next;
	__u64 *state = bpf_map_lookup_elem(&unreachable_budget, &ifindex);

	if (!state) {
		bpf_map_update_elem(&unreachable_budget, &ifindex, &fresh, BPF_NOEXIST);
		state = bpf_map_lookup_elem(&unreachable_budget, &ifindex);
		if (!state)
			return false;
	}
	used_until = *state;
	if (used_until > now + UNREACHABLE_BURST_NS)
		return false;
	next = (used_until > now ? used_until : now) + UNREACHABLE_INTERVAL_NS;
	/* Another CPU was faster: that answer is enough. */
	return __sync_val_compare_and_swap(state, used_until, next) == used_until;
}

/* Cuts the packet to what is quoted and makes room for the headers. Returns the sum of what is quoted, and its
 * length. */
static __always_inline int make_quote(struct __sk_buff *skb, __u32 headers, __u32 *sum, __u32 *length)
{
	/* What lies past a short packet stays 0, which no sum notices. */
	__u8 quote[QUOTE_MAX] = {};
	__u32 quoted = skb->len - ETH_HLEN;

	if (quoted > QUOTE_MAX)
		quoted = QUOTE_MAX;
	if (quoted < sizeof(struct iphdr))
		return -DROP_MALFORMED;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, quote, quoted))
		return -DROP_MALFORMED;
	*sum = checksum_add(0, quote, sizeof(quote));
	*length = quoted;
	if (skb->len > ETH_HLEN + QUOTE_MAX && bpf_skb_change_tail(skb, ETH_HLEN + QUOTE_MAX, 0))
		return -DROP_KERNEL;
	if (bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0))
		return -DROP_KERNEL;
	return 0;
}

static __always_inline int complain_v4(struct __sk_buff *skb, const struct packet *packet, __u8 code, __u32 mtu)
{
	struct error_v4 error = {
		.eth = { .h_source = FABRIC_MAC, .h_proto = bpf_htons(ETH_P_IP) },
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP },
		.icmp = { .type = ICMP_UNREACHABLE, .code = code, .detail = bpf_htonl(mtu) },
	};
	__u32 sum, length;
	int failed;

	if (bpf_skb_load_bytes(skb, 6, error.eth.h_dest, 6))
		return -DROP_MALFORMED;
	failed = make_quote(skb, sizeof(error) - ETH_HLEN, &sum, &length);
	if (failed)
		return failed;
	error.ip.tot_len = bpf_htons(sizeof(error) - ETH_HLEN + length);
	error.ip.saddr = packet->destination.words[3];
	error.ip.daddr = packet->source.words[3];
	error.ip.check = checksum_fold(checksum_add(0, &error.ip, sizeof(error.ip)));
	error.icmp.checksum = checksum_fold(checksum_add(sum, &error.icmp, sizeof(error.icmp)));
	if (bpf_skb_store_bytes(skb, 0, &error, sizeof(error), BPF_F_RECOMPUTE_CSUM))
		return -DROP_KERNEL;
	return send_back(skb);
}

static __always_inline int complain_v6(struct __sk_buff *skb, const struct packet *packet, __u8 type, __u8 code,
				       __u32 mtu)
{
	struct error_v6 error = {
		.eth = { .h_source = FABRIC_MAC, .h_proto = bpf_htons(ETH_P_IPV6) },
		.ip = { .version = 6, .nexthdr = PROTOCOL_ICMPV6, .hop_limit = 64 },
		.icmp = { .type = type, .code = code, .detail = bpf_htonl(mtu) },
	};
	__u32 sum, length;
	int failed;

	if (bpf_skb_load_bytes(skb, 6, error.eth.h_dest, 6))
		return -DROP_MALFORMED;
	failed = make_quote(skb, sizeof(error) - ETH_HLEN, &sum, &length);
	if (failed)
		return failed;
	length += sizeof(error.icmp);
	error.ip.payload_len = bpf_htons(length);
	__builtin_memcpy(&error.ip.saddr, &packet->destination, 16);
	__builtin_memcpy(&error.ip.daddr, &packet->source, 16);
	sum = checksum_pseudo_v6(sum, &packet->destination, &packet->source, length, PROTOCOL_ICMPV6);
	error.icmp.checksum = checksum_fold(checksum_add(sum, &error.icmp, sizeof(error.icmp)));
	if (bpf_skb_store_bytes(skb, 0, &error, sizeof(error), BPF_F_RECOMPUTE_CSUM))
		return -DROP_KERNEL;
	return send_back(skb);
}

/* Tells the container the largest packet that reaches the destination, whether or not it allowed fragments: the program
 * cannot make any. Counts the loss if it could tell. The verdict of an answer, or a negated reason. */
static __noinline int complain_too_big(struct __sk_buff *skb, const struct packet *packet, __u32 mtu)
{
	int verdict;

	if (!packet || !may_complain(skb, packet))
		return -DROP_TOO_BIG;
	if (packet->is_v4)
		verdict = complain_v4(skb, packet, ICMP_NEEDS_FRAGMENTATION, mtu);
	else
		verdict = complain_v6(skb, packet, ICMPV6_TOO_BIG, 0, mtu);
	if (verdict >= 0)
		drop_at_link(skb, DROP_TOO_BIG);
	return verdict;
}

/* Tells the container that nobody has the address. Counts the loss if it could tell. The verdict of an answer, or a
 * negated reason. */
static __noinline int complain_unreachable(struct __sk_buff *skb, const struct packet *packet)
{
	int verdict;

	if (!packet || !may_complain(skb, packet) || !unreachable_allowed(skb->ifindex))
		return -DROP_UNKNOWN_DESTINATION;
	if (packet->is_v4)
		verdict = complain_v4(skb, packet, ICMP_HOST_UNREACHABLE, 0);
	else
		verdict = complain_v6(skb, packet, ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, 0);
	if (verdict >= 0)
		drop_at_link(skb, DROP_UNKNOWN_DESTINATION);
	return verdict;
}
