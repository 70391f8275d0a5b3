// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What is decided when the programs are loaded, and the hardware addresses that are the same on every host. */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* 1: local packets go straight into the receiver's namespace (bpf_redirect_peer, Linux 5.10).
 * 0: they leave through the host's end of the receiver's pair and are queued once more. */
const volatile __u8 use_redirect_peer = 1;

/* The address every neighbour question is answered with. No device has it: were the program lost, the host's stack
 * would drop each frame as somebody else's. Locally administered; "shoa" and a number. Tunnel devices have the
 * next one. */
#define FABRIC_MAC { 0x02, 0x73, 0x68, 0x6f, 0x61, 0x01 }
