// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The least that an XDP program can do to tell a foreign packet: the VIP, the port, jhash of source
 * address and port as the kernel's nft computes it, one array look-up, drop.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bench.h"

#define JHASH_INITVAL 0xdeadbeefu	/* linux/jhash.h */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} mine SEC(".maps");

const volatile __u32 buckets = 65536;

static __u32 rol32(__u32 v, unsigned int n)
{
	return v << n | v >> (32 - n);
}

static __u32 jhash_8(__u32 a, __u32 b, __u32 seed)
{
	__u32 c = JHASH_INITVAL + 8 + seed;

	a += c;
	b += c;
	c ^= b; c -= rol32(b, 14);
	a ^= c; a -= rol32(c, 11);
	b ^= a; b -= rol32(a, 25);
	c ^= b; c -= rol32(b, 16);
	a ^= c; a -= rol32(c, 4);
	b ^= a; b -= rol32(a, 14);
	c ^= b; c -= rol32(b, 24);
	return c;
}

SEC("xdp")
int drop_foreign(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u8 *m;
	__u32 b;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->protocol != IPPROTO_TCP || ip->daddr != bpf_htonl(BENCH_VIP) ||
	    tcp->dest != bpf_htons(BENCH_PORT))
		return XDP_PASS;
	b = (__u32)((__u64)jhash_8(ip->saddr, tcp->source, BENCH_SEED) * buckets >> 32);
	m = bpf_map_lookup_elem(&mine, &b);
	return m && *m ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int drop_all(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
