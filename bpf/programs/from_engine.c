// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What other hosts send encrypted: tc ingress of a TAP device that an engine in user space writes to.
 *
 *     underlay -> engine -> TAP device -> [from_engine] -+-> a container of this host, of an encrypted network
 *                                                        +-> dropped and counted
 *
 * Host and network come in the frame's hardware addresses; see tunnel.h.
 */
#include "receive.h"

SEC("tc")
int from_engine(struct __sk_buff *skb)
{
	struct address host;
	__u32 vni;
	int verdict = read_frame(skb, &vni, &host) ? receive(skb, WAY_ENGINE, vni, &host) : -DROP_NO_FRAME_KEY;

	return verdict < 0 ? drop_at_tunnel(skb, -verdict) : verdict;
}
