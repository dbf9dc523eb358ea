/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "util/jhash.h"
#include "wire/msg.h"

#define CLUSTER "web"

static uint8_t snap_data[SNAP_CHUNK], bitmap[BUCKETS_MAX / 8];

/* One message of every type (several of those with variants), all fields different from zero. */
static unsigned int samples(struct msg *m)
{
	unsigned int n = 0;

	memset(m, 0, 64 * sizeof(*m));
#define ADD(t) (m[n].type = MSG_##t, m[n].from = (uint8_t)(1 + n), \
		m[n].incarnation = 0x1112131415161700 + n, &m[n++])
	ADD(ROUND)->u.round = 0x01020304;
	struct msg *s = ADD(STATE);
	s->u.state.round = 7;
	s->u.state.epoch = 0x2122232425262728;
	s->u.state.digest = 0x3132333435363738;
	s->u.state.lineage = 0x4142434445464748;
	s->u.state.config = 0x5152535455565758;
	s->u.state.dead = UINT64_C(1) << 63 | 1;
	s->u.state.primary = true;
	s = ADD(SNAP);
	s->u.snap.round = 8;
	s->u.snap.index = 9;
	s->u.snap.offset = SNAP_TOTAL_MAX - SNAP_CHUNK;
	s->u.snap.total = SNAP_TOTAL_MAX;
	s->u.snap.size = SNAP_CHUNK;
	s->u.snap.data = snap_data;
	s = ADD(SNAP);
	s->u.snap.total = s->u.snap.size = 3;
	s->u.snap.data = snap_data;
	s = ADD(READY);
	s->u.ready.config = 0x5152535455565758;
	s->u.ready.weight = 1000;
	s->u.ready.hold_back = true;
	s->u.ready.slow = true;
	s->u.ready.n_links = SERVICES_MAX;
	for (unsigned int i = 0; i < SERVICES_MAX; i++) {
		memset(s->u.ready.link[i].mac, (int)(i + 1), 6);
		s->u.ready.health[i] = (uint8_t)(i % FITNESS_N);
		assert_int_equal(addr_parse(&s->u.ready.link[i].addr4, "10.77.0.1"), 0);
		if (i % 2)
			assert_int_equal(addr_parse(&s->u.ready.link[i].addr6, "fd77::1"), 0);
	}
	ADD(READY)->u.ready.config = 1;
	s = ADD(FAIL);
	s->u.fail.node = 64;
	s->u.fail.kind = FAIL_SELF;
	s->u.fail.term = 0x61626364;
	ADD(BYE);
	ADD(PLAN);
	ADD(ACK)->u.plan.plan = 0x7172737475767778;
	ADD(LEFT)->u.plan.plan = 2;
	ADD(ADOPTED)->u.plan.plan = 3;
	s = ADD(DRAINED);
	s->u.drained.service = SERVICES_MAX - 1;
	s->u.drained.epoch = 0x8182838485868788;
	s->u.drained.forced = true;
	s->u.drained.size = sizeof(bitmap);
	s->u.drained.bitmap = bitmap;
	s = ADD(DRAINED);
	s->u.drained.size = 8;
	s->u.drained.bitmap = bitmap;
	ADD(GRACE_END)->u.grace.node = 1;
	for (unsigned int t = 0; t < ORDER_TYPES_N; t++) {
		s = ADD(ORDER);
		s->u.order.type = (uint8_t)t;
		s->u.order.node = (uint8_t)(t + 1);
		s->u.order.value = t == ORDER_WEIGHT ? ORDER_AUTO : (uint16_t)(990 + t);
	}
	s = ADD(CLEAR_REQ);
	s->u.clear.by = 2;
	s->u.clear.node = 3;
	s->u.clear.term = 0x91929394;
	s->u.clear.gen = 0xa1a2a3a4;
	s = ADD(CLEAR_ACK);
	s->u.clear.by = 64;
	s->u.clear.node = 1;
	s = ADD(DIGEST);
	s->u.digest.epoch = 0xb1b2b3b4b5b6b7b8;
	s->u.digest.digest = 0xc1c2c3c4c5c6c7c8;
	s = ADD(LAYOUT);
	s->u.layout.buckets = 4096;
	for (unsigned int i = 0; i < SERVICES_MAX; i++)
		s->u.layout.hash[i] = (uint8_t)(i + 1);
	s = ADD(UNMIXED);
	s->u.unmixed.rehash = 0xe1e2e3e4e5e6e7e8;
	s->u.unmixed.forced = true;
	s = ADD(LOAD);
	s->u.load = (struct sample){ .load = 1000, .cpu_idle = 999, .mem_free_kb = 0xd1d2d3d4,
				     .blocked = 0xe1e2, .swapping = 0xf1f2 };
	for (unsigned int i = 0; i < SERVICES_MAX; i++) {
		s->u.load.conns[i] = 0x01020300 + i;
		s->u.load.kbps[i] = i == SERVICES_MAX - 1 ? 0 : 0x11121300 + i;
	}
	s = ADD(LOAD);		/* of two services one, and nothing of the others */
	s->u.load.kbps[1] = 5;
	ADD(LOAD);
	s = ADD(REWEIGH);
	s->u.reweigh.service = SERVICES_MAX - 1;
	s->u.reweigh.n = NODES_MAX;
	for (unsigned int i = 0; i < NODES_MAX; i++)
		s->u.reweigh.node[i] = (struct policy_sample){
			.node = (uint8_t)(i + 1), .load = 1000, .cpu_idle = 1000, .blocked = 0x0102,
			.swapping = 0x0304, .mem_free_kb = 0x21222324, .conns = 0x31323300 + i };
	s = ADD(REWEIGH);
	s->u.reweigh.n = 2;
	s->u.reweigh.node[0].node = 3;
	s->u.reweigh.node[1].node = 64;
	ADD(REWEIGH);
	s = ADD(IDLE);
	s->u.idle.service = SERVICES_MAX - 1;
	s->u.idle.epoch = 0x4142434445464748;
	s->u.idle.size = sizeof(bitmap);
	s->u.idle.bitmap = bitmap;
	s = ADD(HEALTH);
	s->u.health.service = SERVICES_MAX - 1;
	s->u.health.node = s->from;
	s->u.health.health = FITNESS_WORKS;
	s = ADD(HEALTH);
	s->u.health.node = 1;
	s->u.health.health = FITNESS_DOWN;
#undef ADD
	assert_true(n <= 64);
	return n;
}

/* Equality by way of the bytes, and for borrowed data by content. */
static void assert_same(const struct msg *a, const struct msg *b)
{
	struct msg x = *a, y = *b;

	if (x.type == MSG_SNAP) {
		assert_memory_equal(x.u.snap.data, y.u.snap.data, x.u.snap.size);
		x.u.snap.data = y.u.snap.data = NULL;
	} else if (x.type == MSG_DRAINED) {
		assert_memory_equal(x.u.drained.bitmap, y.u.drained.bitmap, x.u.drained.size);
		x.u.drained.bitmap = y.u.drained.bitmap = NULL;
	} else if (x.type == MSG_IDLE) {
		assert_memory_equal(x.u.idle.bitmap, y.u.idle.bitmap, x.u.idle.size);
		x.u.idle.bitmap = y.u.idle.bitmap = NULL;
	}
	assert_memory_equal(&x, &y, sizeof(x));
}

static void test_round_trip(void **state)
{
	static struct msg m[64];
	static uint8_t buf[MSG_SIZE_MAX];
	unsigned int n = samples(m), seen = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct msg got;
		size_t size = msg_encode(&m[i], CLUSTER, buf, sizeof(buf));

		assert_true(size > 0);
		assert_int_equal(msg_decode(&got, CLUSTER, buf, size), 0);
		assert_same(&m[i], &got);
		seen |= 1u << m[i].type;
		/* exactly that much room suffices, one byte less does not */
		assert_int_equal(msg_encode(&m[i], CLUSTER, buf, size), size);
		assert_int_equal(msg_encode(&m[i], CLUSTER, buf, size - 1), 0);
	}
	assert_int_equal(seen, (1u << MSG_TYPES_N) - 2);	/* all but MSG_NONE */
}

/* Made by hand from the layout in wire/msg.h; the hash of "web" is a value of the protocol, too. */
static void test_golden(void **state)
{
	static const uint8_t fail[] = {
		'C', 'D', 'G', 'M', 3, 5, 3, 0, 0, 0, 0, 0,
		0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
		64, 1, 0x61, 0x62, 0x63, 0x64,
	};
	static const uint8_t ready[] = {
		'C', 'D', 'G', 'M', 3, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
		0, 0, 0, 0, 0, 0, 0, 5, 0, 100, 1, 1, 1,
		2, 0, 0, 0, 0, 7, 4, 10, 77, 0, 1,
		6, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2,
	};
	struct msg m = { .type = MSG_FAIL, .from = 3, .incarnation = 0x1112131415161718,
			 .u.fail = { .node = 64, .kind = FAIL_CRASH, .term = 0x61626364 } };
	static const uint8_t load[] = {
		'C', 'D', 'G', 'M', 3, 19, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
		0x03, 0xe8, 0, 7, 0, 0x12, 0x34, 0x56, 0, 1, 0, 2, 1, 0, 0, 0, 3, 0, 0, 0, 4,
	};
	static const uint8_t reweigh[] = {
		'C', 'D', 'G', 'M', 3, 20, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
		1, 1, 5, 0x03, 0xe8, 0, 7, 0, 1, 0, 2, 0, 0x12, 0x34, 0x56, 0, 0, 0, 8,
	};
	static const uint8_t idle[] = {
		'C', 'D', 'G', 'M', 3, 21, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
		1, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 8, 0, 5, 10, 15, 20, 25, 30, 35,
	};
	static const uint8_t health[] = {
		'C', 'D', 'G', 'M', 3, 22, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 3, 2,
	};
	uint8_t buf[128], hash[4];
	uint32_t h = jhash("web", 3, 0x4344474d);

	for (int i = 0; i < 4; i++)
		hash[i] = (uint8_t)(h >> (24 - 8 * i));
	assert_int_equal(h, 0x60376bb1);
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(fail));
	assert_memory_equal(buf + 8, hash, 4);
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, fail, sizeof(fail));

	m = (struct msg){ .type = MSG_READY, .from = 2, .incarnation = 9,
			  .u.ready = { .config = 5, .weight = 100, .hold_back = true, .slow = true,
				     .n_links = 1, .health = { FITNESS_DOWN } } };
	memcpy(m.u.ready.link[0].mac, "\2\0\0\0\0\7", 6);
	addr_parse(&m.u.ready.link[0].addr4, "10.77.0.1");
	addr_parse(&m.u.ready.link[0].addr6, "fd77::1");
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(ready));
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, ready, sizeof(ready));

	m = (struct msg){ .type = MSG_LOAD, .from = 2, .incarnation = 9,
			  .u.load = { .load = 1000, .cpu_idle = 7, .mem_free_kb = 0x123456, .blocked = 1,
				      .swapping = 2, .conns = { 3 }, .kbps = { 4 } } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(load));
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, load, sizeof(load));

	m = (struct msg){ .type = MSG_REWEIGH, .from = 2, .incarnation = 9,
			  .u.reweigh = { .service = 1, .n = 1, .node = { {
				.node = 5, .load = 1000, .cpu_idle = 7, .blocked = 1, .swapping = 2,
				.mem_free_kb = 0x123456, .conns = 8 } } } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(reweigh));
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, reweigh, sizeof(reweigh));

	m = (struct msg){ .type = MSG_IDLE, .from = 2, .incarnation = 9,
			  .u.idle = { .service = 1, .epoch = 77, .size = 8, .bitmap = bitmap } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(idle));
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, idle, sizeof(idle));

	m = (struct msg){ .type = MSG_HEALTH, .from = 2, .incarnation = 9,
			  .u.health = { .service = 1, .node = 3, .health = FITNESS_DOWN } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), sizeof(health));
	memset(buf + 8, 0, 4);
	assert_memory_equal(buf, health, sizeof(health));
}

static void test_refused(void **state)
{
	static struct msg m[64];
	static uint8_t buf[MSG_SIZE_MAX + 1];
	unsigned int n = samples(m);

	for (unsigned int i = 0; i < n; i++) {
		struct msg got = { .type = MSG_NONE };
		size_t size = msg_encode(&m[i], CLUSTER, buf, MSG_SIZE_MAX);
		size_t step = size > 2000 ? 97 : 1;

		for (size_t cut = 0; cut < size; cut += step) {
			/* in memory of just that size, for the sanitizer */
			uint8_t *copy = malloc(cut ? cut : 1);

			memcpy(copy, buf, cut);
			assert_int_equal(msg_decode(&got, CLUSTER, copy, cut), -EBADMSG);
			free(copy);
		}
		buf[size] = 0;
		assert_int_equal(msg_decode(&got, CLUSTER, buf, size + 1), -EBADMSG);
		assert_int_equal(msg_decode(&got, "wed", buf, size), -EXDEV);
		buf[7] = 1;
		assert_int_equal(msg_decode(&got, CLUSTER, buf, size), -EBADMSG);
		buf[7] = 0;
		buf[4] = MSG_VERSION + 1;
		assert_int_equal(msg_decode(&got, CLUSTER, buf, size), -EPROTO);
		/* another version may have anything behind the version, or nothing */
		assert_int_equal(msg_decode(&got, "wed", buf, 5), -EPROTO);
		buf[0] ^= 1;
		assert_int_equal(msg_decode(&got, CLUSTER, buf, size), -EBADMSG);
		assert_int_equal(got.type, MSG_NONE);	/* untouched */
	}
}

/* Encodes sample 'type' with one byte of the encoding replaced. */
static int decode_with(enum msg_type type, size_t at, uint8_t value)
{
	static struct msg m[64];
	static uint8_t buf[MSG_SIZE_MAX];
	unsigned int n = samples(m), i = 0;
	struct msg got;
	size_t size;

	while (i < n && m[i].type != type)
		i++;
	assert_true(i < n);
	size = msg_encode(&m[i], CLUSTER, buf, sizeof(buf));
	assert_true(at < size);
	buf[at] = value;
	return msg_decode(&got, CLUSTER, buf, size);
}

static void test_ranges(void **state)
{
	assert_int_equal(decode_with(MSG_BYE, 5, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_BYE, 5, MSG_TYPES_N), -EBADMSG);
	assert_int_equal(decode_with(MSG_BYE, 5, 255), -EBADMSG);
	assert_int_equal(decode_with(MSG_BYE, 6, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_BYE, 6, 64), 0);
	assert_int_equal(decode_with(MSG_BYE, 6, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_FAIL, 20, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_FAIL, 20, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_FAIL, 21, FAIL_SELF + 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_GRACE_END, 20, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_CLEAR_REQ, 20, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_CLEAR_ACK, 21, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_ORDER, 20, ORDER_TYPES_N), -EBADMSG);
	assert_int_equal(decode_with(MSG_ORDER, 21, 0), -EBADMSG);	/* drain whom? */
	assert_int_equal(decode_with(MSG_ORDER, 21, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_ORDER, 20, ORDER_WEIGHT), 0);	/* 990 */
	assert_int_equal(decode_with(MSG_STATE, 64, 2), -EBADMSG);	/* a bool */
	assert_int_equal(decode_with(MSG_SNAP, 36, 0x01), -EBADMSG);	/* size */
	assert_int_equal(decode_with(MSG_SNAP, 31, 0x01), -EBADMSG);	/* offset + size > total */
	assert_int_equal(decode_with(MSG_SNAP, 32, 0x02), -EBADMSG);	/* total > 16 MiB */
	assert_int_equal(decode_with(MSG_READY, 28, 0x04), -EBADMSG);	/* weight 2024 */
	assert_int_equal(decode_with(MSG_READY, 30, 2), -EBADMSG);	/* a bool */
	assert_int_equal(decode_with(MSG_READY, 31, 2), -EBADMSG);	/* another */
	assert_int_equal(decode_with(MSG_READY, 32, SERVICES_MAX + 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_READY, 32, SERVICES_MAX - 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_READY, 45, FITNESS_DOWN), 0);
	assert_int_equal(decode_with(MSG_READY, 45, FITNESS_N), -EBADMSG);
	assert_int_equal(decode_with(MSG_READY, 39, 6), -EBADMSG);	/* IPv6 where IPv4 goes */
	assert_int_equal(decode_with(MSG_LAYOUT, 22, 0), -EBADMSG);	/* no bucket */
	assert_int_equal(decode_with(MSG_LAYOUT, 21, 2), -EBADMSG);	/* twice BUCKETS_MAX, and more */
	assert_int_equal(decode_with(MSG_LAYOUT, 23, 1), -EBADMSG);	/* not a power of two */
	assert_int_equal(decode_with(MSG_LAYOUT, 24, 200), 0);		/* a hash that we do not know */
	assert_int_equal(decode_with(MSG_UNMIXED, 28, 2), -EBADMSG);	/* a bool */
	assert_int_equal(decode_with(MSG_DRAINED, 20, SERVICES_MAX), -EBADMSG);
	assert_int_equal(decode_with(MSG_DRAINED, 21, 2), -EBADMSG);
	assert_int_equal(decode_with(MSG_DRAINED, 33, 1), -EBADMSG);	/* size % 8 */
	assert_int_equal(decode_with(MSG_LOAD, 20, 0x07), -EBADMSG);	/* load 2024 */
	assert_int_equal(decode_with(MSG_LOAD, 22, 0x07), -EBADMSG);	/* idle 2023 */
	assert_int_equal(decode_with(MSG_LOAD, 32, SERVICES_MAX + 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_LOAD, 32, SERVICES_MAX - 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_REWEIGH, 20, SERVICES_MAX), -EBADMSG);
	assert_int_equal(decode_with(MSG_REWEIGH, 21, NODES_MAX + 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_REWEIGH, 21, NODES_MAX - 1), -EBADMSG);
	assert_int_equal(decode_with(MSG_REWEIGH, 22, 0), -EBADMSG);	/* nobody's sample */
	assert_int_equal(decode_with(MSG_REWEIGH, 22, 2), -EBADMSG);	/* twice the same node */
	assert_int_equal(decode_with(MSG_REWEIGH, 22 + 63 * 17, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_REWEIGH, 23, 0x07), -EBADMSG);	/* load 2024 */
	assert_int_equal(decode_with(MSG_REWEIGH, 25, 0x07), -EBADMSG);	/* idle 2024 */
	assert_int_equal(decode_with(MSG_IDLE, 20, SERVICES_MAX), -EBADMSG);
	assert_int_equal(decode_with(MSG_IDLE, 32, 1), -EBADMSG);	/* size % 8 */
	assert_int_equal(decode_with(MSG_HEALTH, 20, SERVICES_MAX), -EBADMSG);
	assert_int_equal(decode_with(MSG_HEALTH, 21, 0), -EBADMSG);
	assert_int_equal(decode_with(MSG_HEALTH, 21, 65), -EBADMSG);
	assert_int_equal(decode_with(MSG_HEALTH, 22, FITNESS_N), -EBADMSG);
	assert_int_equal(decode_with(MSG_HEALTH, 22, FITNESS_DOWN), 0);
	assert_int_equal(decode_with(MSG_HEALTH, 21, 1), -EBADMSG);	/* WORKS, of somebody else */
}

/* What peers would refuse is not even sent. */
static void test_encode_refuses(void **state)
{
	static uint8_t buf[MSG_SIZE_MAX];
	struct msg m = { .type = MSG_BYE };

	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m.from = 1;
	assert_true(msg_encode(&m, CLUSTER, buf, sizeof(buf)) > 0);
	m.type = MSG_NONE;
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m.type = MSG_DRAINED;
	m.u.drained.bitmap = bitmap;
	m.u.drained.size = 12;
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m.u.drained.size = sizeof(bitmap) + 8;
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m = (struct msg){ .type = MSG_ORDER, .from = 1, .u.order = { .type = ORDER_RAMP, .node = 1 } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m.u.order.value = RAMP_FULL + 1;
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m.u.order.value = 1;
	assert_true(msg_encode(&m, CLUSTER, buf, sizeof(buf)) > 0);
	m.u.order.node = NOBODY;
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
	m = (struct msg){ .type = MSG_LOAD, .from = 1, .u.load = { .load = 1001 } };
	assert_int_equal(msg_encode(&m, CLUSTER, buf, sizeof(buf)), 0);
}

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* Whatever decodes must encode to the same bytes again: there is one encoding of each message. */
static void decode_any(const uint8_t *p, size_t size, unsigned int *accepted)
{
	static uint8_t again[MSG_SIZE_MAX];
	struct msg m;

	if (msg_decode(&m, CLUSTER, p, size) != 0)
		return;
	++*accepted;
	assert_int_equal(msg_encode(&m, CLUSTER, again, sizeof(again)), size);
	assert_memory_equal(again, p, size);
}

static void test_damage(void **state)
{
	static struct msg m[64];
	static uint8_t buf[MSG_SIZE_MAX];
	unsigned int n = samples(m), accepted = 0;

	for (unsigned int i = 0; i < n; i++) {
		size_t size = msg_encode(&m[i], CLUSTER, buf, sizeof(buf));
		size_t bits = 8 * (size > 200 ? 200 : size);

		for (size_t b = 0; b < bits; b++) {
			buf[b / 8] ^= (uint8_t)(1 << b % 8);
			decode_any(buf, size, &accepted);
			buf[b / 8] ^= (uint8_t)(1 << b % 8);
		}
	}
	for (unsigned int i = 0; i < 200000; i++) {
		size_t size = rnd() % 80;
		uint8_t *p = malloc(size ? size : 1);

		for (size_t k = 0; k < size; k++)
			p[k] = (uint8_t)rnd();
		if (i % 4 && size >= 12) {	/* get past the first checks */
			memcpy(p, buf, 12);
			p[5] = (uint8_t)(rnd() % MSG_TYPES_N);
		}
		decode_any(p, size, &accepted);
		free(p);
	}
	assert_true(accepted > 1000);
}

static void test_names(void **state)
{
	assert_string_equal(msg_type_str(MSG_READY), "ready");
	assert_string_equal(msg_type_str(MSG_NONE), "?");
	assert_string_equal(msg_type_str(MSG_TYPES_N), "?");
	assert_true(msg_is_replicated(MSG_READY));
	assert_true(msg_is_replicated(MSG_ORDER));
	assert_true(msg_is_replicated(MSG_HEALTH));
	assert_false(msg_is_replicated(MSG_LOAD));
	assert_string_equal(fitness_str(FITNESS_WORKS), "works");
	assert_string_equal(fitness_str(FITNESS_N), "?");
	assert_false(msg_is_replicated(MSG_ROUND));
	assert_false(msg_is_replicated(MSG_DIGEST));
	assert_false(msg_is_replicated(MSG_NONE));
	assert_false(msg_is_replicated(MSG_TYPES_N));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_encode_refuses),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_names),
	};

	for (unsigned int i = 0; i < sizeof(snap_data); i++)
		snap_data[i] = (uint8_t)(i * 7);
	for (unsigned int i = 0; i < sizeof(bitmap); i++)
		bitmap[i] = (uint8_t)(i * 5);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
