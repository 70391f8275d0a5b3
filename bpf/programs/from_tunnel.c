// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What other hosts send encrypted: tc ingress of a VXLAN device whose socket lies in a namespace with WireGuard.
 *
 *     underlay -> WireGuard -> VXLAN device -> [from_tunnel] -+-> a container of this host, of an encrypted network
 *                                                             +-> dropped and counted
 */
#include "receive.h"

SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	return take_from_vxlan(skb, WAY_ENCRYPTED);
}
