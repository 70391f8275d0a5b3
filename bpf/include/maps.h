// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The maps: what is shared with the agent. All are pinned by name and outlive it. Rust's view of every struct is
 * generated from here; padding is explicit, so that a key is the same bytes on both sides.
 *
 * Hash maps are not preallocated: a host pays for the entries it has. Buckets are (16 bytes for each possible
 * entry).
 *
 * A map whose layout changes gets the next number in its name: the programs in service keep the old one until new
 * programs, with the new one filled, take their place. */
#pragma once

#include "address.h"
#include "drops.h"

/* ---- endpoints: where every address of every network is ---- */

/* The network first: most keys of one host share few networks, and the hash takes the whole key anyhow. */
struct endpoint_key {
	__u32 vni;
	struct address address;
};

_Static_assert(sizeof(struct endpoint_key) == 20, "endpoint_key has no padding");

/* Exactly one of both is set. */
struct endpoint {
	__u32 ifindex; /* the host's end of the link, or 0: on another host */
	struct address peer; /* that host's outer address, the key of its peer, or :: */
};

_Static_assert(sizeof(struct endpoint) == 20, "endpoint has no padding");

/* 131,072 endpoints with an address of each family in the whole fabric. Buckets: 4 MiB; about 100 bytes an entry. */
#define ENDPOINTS_MAX 262144

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENDPOINTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* ---- links: settings of the program at each container's link, by the ifindex of the host's end ---- */

#define LINK_HAS_V4 1 /* `v4` is an address */
#define LINK_HAS_V6 2 /* `v6` is an address */
#define LINK_IN_CLEAR 4 /* its packets go through tunnels in clear, and through no others; else the reverse */

struct link {
	__u32 vni;
	__u32 flags; /* LINK_* */
	struct address v4; /* mapped; the only IPv4 source accepted */
	struct address v6; /* the only IPv6 source accepted, but for neighbour discovery */
	__u8 mac[6]; /* of the container's end */
	__u16 mtu; /* bytes of IP packet */
};

_Static_assert(sizeof(struct link) == 48, "link has no padding");

/* A host runs hundreds of containers, not thousands: a bridge would end at 1,023. */
#define LINKS_MAX 8192

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LINKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct link);
} links SEC(".maps");

/* ---- peers: the other hosts, by what their outer headers say ----
 *
 * In clear that is the host's underlay address; encrypted, its address in the tunnel, of 240.0.0.0/4. A host may have
 * an entry of each kind, and while keys change two that are encrypted. */

#define PEER_IN_CLEAR 1 /* the device sends in clear */
#define PEER_FRAMED 2 /* the device is a TAP that takes outer addresses in the frame's own; see tunnel.h */

struct peer {
	struct address local; /* outer source towards it; of the same family */
	__u32 ifindex; /* of the device that leads to it */
	__u16 mtu; /* largest inner IP packet that reaches it, bytes */
	__u16 flags; /* PEER_* */
	__u8 host[16]; /* id of the host, the same for all its addresses */
};

_Static_assert(sizeof(struct peer) == 40, "peer has no padding");

/* Thousands of hosts, some with an address of each family and each kind. */
#define PEERS_MAX 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct address);
	__type(value, struct peer);
} peers_2 SEC(".maps");

/* ---- counters ---- */

/* Packets are what a wire would see: each segment of a large one counts. Bytes are those of the frame as it lay in
 * memory. */
struct link_counters {
	__u64 sent_packets; /* from the container, forwarded */
	__u64 sent_bytes;
	__u64 received_packets; /* delivered to the container */
	__u64 received_bytes;
};

/* One per link, made with the link by the agent: an endpoint whose link has none is gone. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, LINKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct link_counters);
} link_counters SEC(".maps");

struct drop_key {
	__u32 ifindex;
	__u32 reason; /* enum drop_reason */
};

/* Made by the programs at the first loss; few of a link's reasons ever happen. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8 * LINKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct drop_key);
	__type(value, __u64);
} drops SEC(".maps");

/* Lost at tunnels, by reason. Room for reasons to come, so that the pinned map stays as it is. */
#define TUNNEL_DROPS_MAX 128

_Static_assert(DROP_REASONS <= TUNNEL_DROPS_MAX, "every reason can be counted");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TUNNEL_DROPS_MAX);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} tunnel_drops SEC(".maps");

/* ---- unreachable_budget: until when each link has used up its share of "unreachable" answers ---- */

/* Nanoseconds of CLOCK_MONOTONIC; see icmp.h. Made by the programs, removed with the link. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LINKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} unreachable_budget SEC(".maps");
