// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Answers to "who has this address": ARP (RFC 826) and neighbour solicitations (RFC 4861).
 *
 * Every address but the container's own is answered with the one fabric address, whether or not an endpoint has it:
 * forwarding looks at IP addresses alone, and a packet for nobody gets an ICMP error, which tells an application at
 * once. A container's question for its own address is duplicate address detection and must find silence. */
#pragma once

#include "checksum.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_OPTION_TARGET_MAC 2
#define ND_SOLICITED 0x40000000
#define ND_OVERRIDE 0x20000000

/* ARP for IPv4 over Ethernet. */
struct arp_frame {
	struct ethhdr eth;
	__be16 hardware; /* 1 */
	__be16 protocol; /* ETH_P_IP */
	__u8 hardware_length; /* 6 */
	__u8 protocol_length; /* 4 */
	__be16 operation;
	__u8 sender_mac[6];
	__be32 sender;
	__u8 target_mac[6];
	__be32 target;
} __attribute__((packed));

_Static_assert(sizeof(struct arp_frame) == 42, "as on the wire");

/* A solicitation or an advertisement, without options. */
struct nd_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct address target;
};

_Static_assert(sizeof(struct nd_message) == 24, "as on the wire");

struct nd_answer {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message message;
	__u8 option;
	__u8 option_length; /* in units of 8 bytes */
	__u8 mac[6];
} __attribute__((packed));

_Static_assert(sizeof(struct nd_answer) == 86, "as on the wire");

/* Sends the frame, rewritten, back to where it came from. */
static __always_inline int send_back(struct __sk_buff *skb)
{
	skb->mark = 0;
	return bpf_redirect(skb->ifindex, 0);
}

/* Turns an ARP request into its answer, in place. */
static __always_inline int answer_arp(struct __sk_buff *skb, const struct link *link)
{
	const __u8 mac[6] = FABRIC_MAC;
	struct arp_frame question, answer;
	__be32 own = link->flags & LINK_HAS_V4 ? link->v4.words[3] : 0;

	if (bpf_skb_load_bytes(skb, 0, &question, sizeof(question)))
		return -DROP_MALFORMED;
	if (question.hardware != bpf_htons(1) || question.protocol != bpf_htons(ETH_P_IP) ||
	    question.hardware_length != 6 || question.protocol_length != 4)
		return -DROP_MALFORMED;
	/* 0.0.0.0 asks without telling (RFC 5227). */
	if (question.sender && question.sender != own)
		return -DROP_FORGED_SOURCE;
	if (question.target == own)
		return -DROP_OWN_ADDRESS;
	if (question.operation != bpf_htons(ARP_REQUEST))
		return -DROP_NEIGHBOUR;

	answer = question;
	answer.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(answer.eth.h_dest, question.eth.h_source, 6);
	__builtin_memcpy(answer.eth.h_source, mac, 6);
	__builtin_memcpy(answer.target_mac, question.sender_mac, 6);
	answer.target = question.sender;
	__builtin_memcpy(answer.sender_mac, mac, 6);
	answer.sender = question.target;
	if (bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), BPF_F_RECOMPUTE_CSUM))
		return -DROP_KERNEL;
	return send_back(skb);
}

static __always_inline bool is_solicitation(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 type;

	return !packet->is_v4 && packet->protocol == PROTOCOL_ICMPV6 &&
	       !bpf_skb_load_bytes(skb, packet->transport, &type, 1) && type == ND_SOLICITATION;
}

/* Writes the advertisement for `target` over the frame. To `asker`, or, if it has no address yet, to all nodes. */
static __always_inline int advertise(struct __sk_buff *skb, const struct address *target, const struct address *asker)
{
	struct nd_answer answer = {
		.eth = { .h_source = FABRIC_MAC, .h_proto = bpf_htons(ETH_P_IPV6) },
		.ip = { .version = 6, .nexthdr = PROTOCOL_ICMPV6, .hop_limit = 255 },
		.message = { .type = ND_ADVERTISEMENT },
		.option = ND_OPTION_TARGET_MAC,
		.option_length = 1,
		.mac = FABRIC_MAC,
	};
	const __u32 length = sizeof(answer) - ETH_HLEN - sizeof(answer.ip);
	const struct address all_nodes = { .words = { bpf_htonl(0xff020000), 0, 0, bpf_htonl(1) } };
	bool anonymous = address_is_unspecified(asker);
	__u32 sum;

	if (bpf_skb_load_bytes(skb, 6, answer.eth.h_dest, 6))
		return -DROP_MALFORMED;
	answer.ip.payload_len = bpf_htons(length);
	__builtin_memcpy(&answer.ip.saddr, target, 16);
	__builtin_memcpy(&answer.ip.daddr, anonymous ? &all_nodes : asker, 16);
	answer.message.flags = bpf_htonl(anonymous ? ND_OVERRIDE : ND_OVERRIDE | ND_SOLICITED);
	answer.message.target = *target;
	sum = checksum_pseudo_v6(0, target, anonymous ? &all_nodes : asker, length, PROTOCOL_ICMPV6);
	answer.message.checksum = checksum_fold(checksum_add(sum, &answer.message, length));
	if (bpf_skb_change_tail(skb, sizeof(answer), 0) ||
	    bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), BPF_F_RECOMPUTE_CSUM))
		return -DROP_KERNEL;
	return send_back(skb);
}

/* Answers a neighbour solicitation. */
static __always_inline int answer_solicitation(struct __sk_buff *skb, const struct link *link,
					       const struct packet *packet)
{
	struct nd_message message;
	__u8 hop_limit;

	if (bpf_skb_load_bytes(skb, packet->transport, &message, sizeof(message)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv6hdr, hop_limit), &hop_limit, 1))
		return -DROP_MALFORMED;
	/* A router would have taken one off: so it comes from this very link (RFC 4861, 7.1.1). */
	if (hop_limit != 255 || message.code || address_is_multicast(&message.target))
		return -DROP_MALFORMED;
	if (!address_is_unspecified(&packet->source) && !address_is_link_local(&packet->source) &&
	    !((link->flags & LINK_HAS_V6) && address_equal(&packet->source, &link->v6)))
		return -DROP_FORGED_SOURCE;
	if ((link->flags & LINK_HAS_V6) && address_equal(&message.target, &link->v6))
		return -DROP_OWN_ADDRESS;
	/* Nothing is reached by link-local addresses; and a container detects duplicates of its own too. */
	if (address_is_link_local(&message.target))
		return -DROP_NEIGHBOUR;
	return advertise(skb, &message.target, &packet->source);
}
