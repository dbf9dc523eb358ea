// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path in front of the nft rules at ingress (io/early.h): drops what the rules would drop
 * as foreign and marks what they would accept, when the bucket table says so; leaves all else to them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/early_map.h"

#define JHASH_INITVAL 0xdeadbeefu	/* linux/jhash.h */
#define NEXT TC_ACT_UNSPEC		/* other programs, then netfilter */
#define FRAGMENT 0x3fff			/* offset, and "more fragments" */
#define NONE EARLY_SERVICES

struct ports { __be16 source, dest; };

const volatile struct early_conf conf = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* set before loading */
	__type(key, struct early_key);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, 4);
	__uint(value_size, 8);		/* set before loading */
} verdict SEC(".maps");

/* Not in 'conf': without CAP_PERFMON the verifier takes no computed index into constants. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EARLY_SERVICES);
	__type(key, __u32);
	__type(value, struct early_service);
} params SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EARLY_SERVICES);
	__type(key, __u32);
	__type(value, struct early_count);
} counts SEC(".maps");

static __always_inline __u32 rol32(__u32 v, unsigned int n)
{
	return v << n | v >> (32 - n);
}

static __always_inline __u32 final(__u32 a, __u32 b, __u32 c)
{
	c ^= b; c -= rol32(b, 14);
	a ^= c; a -= rol32(c, 11);
	b ^= a; b -= rol32(a, 25);
	c ^= b; c -= rol32(b, 16);
	a ^= c; a -= rol32(c, 4);
	b ^= a; b -= rol32(a, 14);
	c ^= b; c -= rol32(b, 24);
	return c;
}

/* jhash of the 4 bytes of an address, or of them and the port padded to 4: one block, no mixing. */
static __always_inline __u32 hash4(__u32 saddr, __u16 sport, const struct early_service *s)
{
	__u32 init = JHASH_INITVAL + s->seed + (s->with_port ? 8 : 4);
	__u32 second = s->with_port ? sport : 0;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	saddr = __builtin_bswap32(saddr);	/* the last block is little-endian by definition */
	second = __builtin_bswap16(second);
#endif
	return final(init + saddr, init + second, init);
}

static __always_inline __u32 hash6(const __u32 *saddr, __u16 sport,
				   const struct early_service *s)
{
	__u32 init = JHASH_INITVAL + s->seed + (s->with_port ? 20 : 16);
	__u32 a = init + saddr[0], b = init + saddr[1], c = init + saddr[2];
	__u32 fourth = saddr[3], fifth = s->with_port ? sport : 0;

	a -= c; a ^= rol32(c, 4);  c += b;
	b -= a; b ^= rol32(a, 6);  a += c;
	c -= b; c ^= rol32(b, 8);  b += a;
	a -= c; a ^= rol32(c, 16); c += b;
	b -= a; b ^= rol32(a, 19); a += c;
	c -= b; c ^= rol32(b, 4);  b += a;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	fourth = __builtin_bswap32(fourth);
	fifth = __builtin_bswap16(fifth);
#endif
	return final(a + fourth, b + fifth, c);
}

static __always_inline __u32 find_far(const struct early_key *key)
{
	const __u32 *service = bpf_map_lookup_elem(&services, key);

	return service ? *service : NONE;
}

/*
 * For the same reason the service is read before the comparison: the compiler would make one reading
 * with a computed index of those behind it.
 */
static __always_inline __u32 find4(__u32 daddr, __u8 proto, __u16 port)
{
	__u32 i, service;

#pragma unroll
	for (i = 0; i < EARLY_NEAR; i++) {
		service = conf.near4[i].service;
		if (i < conf.n4 && conf.near4[i].key.addr[0] == daddr &&
		    conf.near4[i].key.port == port && conf.near4[i].key.proto == proto)
			return service;
	}
	if (!conf.more4)
		return NONE;
	struct early_key key = { .addr = { daddr }, .port = port, .proto = proto };
	return find_far(&key);
}

static __always_inline __u32 find6(const __u32 *daddr, __u8 proto, __u16 port)
{
	__u32 i, service;

#pragma unroll
	for (i = 0; i < EARLY_NEAR; i++) {
		service = conf.near6[i].service;
		if (i < conf.n6 && conf.near6[i].key.addr[3] == daddr[3] &&
		    conf.near6[i].key.port == port && conf.near6[i].key.proto == proto &&
		    conf.near6[i].key.addr[2] == daddr[2] && conf.near6[i].key.addr[1] == daddr[1] &&
		    conf.near6[i].key.addr[0] == daddr[0])
			return service;
	}
	if (!conf.more6)
		return NONE;
	struct early_key key = {
		.addr = { daddr[0], daddr[1], daddr[2], daddr[3] },
		.port = port, .proto = proto, .v6 = 1,
	};
	return find_far(&key);
}

/* Nobody but this program may mark a packet as decided. */
static __always_inline int undecided(struct __sk_buff *skb)
{
	if (skb->mark == EARLY_MARK)
		skb->mark = 0;
	return NEXT;
}

static __always_inline int decide(struct __sk_buff *skb, __u32 service, const struct early_service *s,
				  __u32 hash)
{
	__u32 at = s->first + (__u32)((__u64)hash * s->buckets >> 32), zero = 0;
	const volatile __u8 *table = bpf_map_lookup_elem(&verdict, &zero);
	struct early_count *n = bpf_map_lookup_elem(&counts, &service);
	__u8 v;

	/* pkt_type 0: PACKET_HOST */
	if (!table || !n || at >= conf.total || (s->to_us && skb->pkt_type))
		return undecided(skb);
	v = table[at];
	if (v == EARLY_DROP) {
		n->foreign++;
		return TC_ACT_SHOT;
	}
	if (v != EARLY_ACCEPT)
		return undecided(skb);
	n->accepted++;
	skb->mark = EARLY_MARK;
	if (skb->pkt_type)
		bpf_skb_change_type(skb, 0);	/* PACKET_HOST */
	return NEXT;
}

static __always_inline int early4(struct __sk_buff *skb, const struct iphdr *ip, const void *end)
{
	const struct ports *p = (const void *)(ip + 1);
	const struct early_service *s;
	__u32 len, service;

	if ((const void *)(p + 1) > end || *(const __u8 *)ip != 0x45 ||
	    (ip->frag_off & bpf_htons(FRAGMENT)) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return undecided(skb);
	len = bpf_ntohs(ip->tot_len);
	if (len < sizeof(*ip) || len + ETH_HLEN > skb->len)
		return undecided(skb);
	service = find4(ip->daddr, ip->protocol, p->dest);
	s = bpf_map_lookup_elem(&params, &service);
	if (!s)
		return undecided(skb);
	return decide(skb, service, s, hash4(ip->saddr, p->source, s));
}

static __always_inline int early6(struct __sk_buff *skb, const struct ipv6hdr *ip, const void *end)
{
	const struct ports *p = (const void *)(ip + 1);
	const struct early_service *s;
	__u32 len, service;

	if ((const void *)(p + 1) > end || ip->version != 6 ||
	    (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return undecided(skb);
	len = bpf_ntohs(ip->payload_len);
	if (len < sizeof(*p) || len + sizeof(*ip) + ETH_HLEN > skb->len)
		return undecided(skb);
	service = find6(ip->daddr.in6_u.u6_addr32, ip->nexthdr, p->dest);
	s = bpf_map_lookup_elem(&params, &service);
	if (!s)
		return undecided(skb);
	return decide(skb, service, s, hash6(ip->saddr.in6_u.u6_addr32, p->source, s));
}

SEC("tc")
int early(struct __sk_buff *skb)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ethhdr *eth = data;

	if ((const void *)(eth + 1) > end || skb->vlan_present)
		return undecided(skb);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return early4(skb, (const void *)(eth + 1), end);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return early6(skb, (const void *)(eth + 1), end);
	return undecided(skb);
}

char _license[] SEC("license") = "GPL";
