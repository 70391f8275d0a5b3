// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A tunnel for tests: BPF_PROG_RUN cannot give a packet the metadata of one, so this gives it and runs what
 * from_tunnel or from_clear runs. Only tests load this object. */
#include "receive.h"

/* Set before each run; an index other than 0 has no meaning. `from` as in struct address; :: gives no metadata at
 * all. */
struct test_tunnel {
	__u32 vni;
	struct address from;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test_tunnel);
} test_tunnel SEC(".maps");

static __always_inline int run_as(struct __sk_buff *skb, enum way_in way)
{
	__u32 first = 0;
	struct test_tunnel *test = bpf_map_lookup_elem(&test_tunnel, &first);
	struct bpf_tunnel_key key = {};

	if (!test)
		return -1;
	if (address_is_unspecified(&test->from))
		return take_from_vxlan(skb, way);
	key.tunnel_id = test->vni;
	/* Metadata for sending: its local address is what a receiver reads as the remote one. */
	if (address_is_v4(&test->from)) {
		key.local_ipv4 = bpf_ntohl(test->from.words[3]);
		if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0))
			return -1;
	} else {
		__builtin_memcpy(key.local_ipv6, &test->from, sizeof(key.local_ipv6));
		if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
			return -1;
	}
	return take_from_vxlan(skb, way);
}

SEC("tc")
int from_test_tunnel(struct __sk_buff *skb)
{
	return run_as(skb, WAY_ENCRYPTED);
}

SEC("tc")
int from_test_clear(struct __sk_buff *skb)
{
	return run_as(skb, WAY_IN_CLEAR);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
