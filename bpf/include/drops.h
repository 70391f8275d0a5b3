// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Why a packet was lost. Numbers are never reused: dashboards outlive programs. bpf/abi has the same table for people,
 * and a test that compares the two: number, name and sentence. */
#pragma once

enum drop_reason {
	DROP_NO_LINK = 1, /* no-link: the link that the packet came from has no settings */
	DROP_MALFORMED = 2, /* malformed: a header is cut short or contradicts itself */
	DROP_NOT_IP = 3, /* not-ip: neither IPv4, IPv6 nor ARP, or tagged for a VLAN */
	DROP_MULTICAST = 4, /* multicast: sent to a group or to everyone, which networks do not carry */
	DROP_FORGED_SOURCE = 5, /* forged-source: the source is not the container's own address */
	DROP_OWN_ADDRESS = 6, /* own-address: a container asked who has its own address; silence is the right answer */
	DROP_NEIGHBOUR = 7, /* neighbour: an ARP or neighbour discovery message that needs no answer */
	DROP_UNKNOWN_DESTINATION = 8, /* unknown-destination: no endpoint of the network has the address */
	DROP_UNKNOWN_PEER = 9, /* unknown-peer: the destination's host is not among the peers */
	DROP_TOO_BIG = 10, /* too-big: larger than the path to the destination's host takes */
	DROP_NO_TUNNEL = 11, /* no-tunnel: no device leads to the destination's host any more */
	DROP_KERNEL = 12, /* kernel: the kernel refused to change the packet, for want of memory */
	DROP_NO_TUNNEL_KEY = 13, /* no-tunnel-key: came to the tunnel device without passing through a tunnel */
	DROP_FOREIGN_HOST = 14, /* foreign-host: came through the tunnel from a host that is not among the peers */
	DROP_FOREIGN_SOURCE = 15, /* foreign-source: came from a host that does not have the source address */
	DROP_NOT_LOCAL = 16, /* not-local: came through the tunnel for an address that is not on this host */
	DROP_NO_RECEIVER = 17, /* no-receiver: the destination's link is gone */
	DROP_PATH_IN_CLEAR = 18, /* path-in-clear: the network is encrypted, the way to the destination's host is in clear */
	DROP_PATH_ENCRYPTED = 19, /* path-encrypted: the network is in clear, the way to the destination's host encrypted */
	DROP_FOREIGN_TUNNEL = 20, /* foreign-tunnel: came in clear from a host's encrypted address, or the reverse */
	DROP_CAME_IN_CLEAR = 21, /* came-in-clear: came in clear for a container of an encrypted network */
	DROP_CAME_ENCRYPTED = 22, /* came-encrypted: came encrypted for a container of a network in clear */
	DROP_NO_FRAME_KEY = 23, /* no-frame-key: came from the engine without host and network in its frame's addresses */
	DROP_REASONS, /* one more than the last */
};
