// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The least that an XDP program can do to tell a foreign packet: the VIP, the port, jhash of source
 * address and port as the kernel's nft computes it, one array look-up; drop, or send it to its owner's MAC
 * address by the same interface.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bench.h"

#ifndef NULL
#define NULL ((void *)0)
#endif
#define JHASH_INITVAL 0xdeadbeefu	/* linux/jhash.h */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);		/* owner, 1: this node */
} table SEC(".maps");

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

/* What the bucket table says of the packet; NULL: it is for no service. */
static __always_inline __u8 *bucket(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 b;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->protocol != IPPROTO_TCP || ip->daddr != bpf_htonl(BENCH_VIP) ||
	    tcp->dest != bpf_htons(BENCH_PORT))
		return NULL;
	b = (__u32)((__u64)jhash_8(ip->saddr, tcp->source, BENCH_SEED) * buckets >> 32);
	return bpf_map_lookup_elem(&table, &b);
}

SEC("xdp")
int drop_foreign(struct xdp_md *ctx)
{
	__u8 *owner = bucket(ctx);

	return !owner || *owner == 1 ? XDP_PASS : XDP_DROP;
}

/* Decrements the TTL (RFC 1141), as nft's fwd does. */
SEC("xdp")
int send_foreign(struct xdp_md *ctx)
{
	__u8 *owner = bucket(ctx);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 sum;

	if (!owner || *owner == 1 || (void *)(ip + 1) > end)
		return XDP_PASS;
	if (ip->ttl <= 1)
		return XDP_DROP;
	ip->ttl--;
	sum = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = (__u16)(sum + (sum >= 0xffff));
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memset(eth->h_dest, 0, ETH_ALEN);
	eth->h_dest[0] = 2;
	eth->h_dest[5] = *owner;
	return XDP_TX;
}

SEC("xdp")
int drop_all(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
