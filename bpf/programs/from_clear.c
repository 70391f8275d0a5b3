// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What other hosts send in clear: tc ingress of a VXLAN device whose socket lies on the underlay.
 *
 *     underlay -> VXLAN device -> [from_clear] -+-> a container of this host, of a network in clear
 *                                               +-> dropped and counted
 *
 * The program for every device of which nothing better is proven: an encrypted one that got it would deliver nothing.
 */
#include "receive.h"

SEC("tc")
int from_clear(struct __sk_buff *skb)
{
	return take_from_vxlan(skb, WAY_IN_CLEAR);
}
