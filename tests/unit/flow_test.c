/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <netinet/in.h>
#include <nettle/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "wire/flow.h"

static const uint8_t key[FLOW_KEY_SIZE] = "flows of one cluster";

static struct flow a_flow(unsigned int i, bool v4)
{
	struct flow f = { .service = (uint8_t)(i % SERVICES_MAX), .node = 5,
			  .proto = i % 2 ? IPPROTO_UDP : IPPROTO_TCP,
			  .sport = (uint16_t)(i * 977), .dport = (uint16_t)(65535 - i) };

	f.client.family = f.vip.family = v4 ? AF_INET : AF_INET6;
	for (unsigned int k = 0; k < (v4 ? 4u : 16u); k++) {
		f.client.b[k] = (uint8_t)(i + k);
		f.vip.b[k] = (uint8_t)(i * 3 + k);
	}
	return f;
}

static struct flow_msg message(enum flow_kind kind)
{
	struct flow_msg m;

	memset(&m, 0, sizeof(m));
	m.kind = (uint8_t)kind;
	m.from = 5;
	m.to = 64;
	m.incarnation = UINT64_C(0x0102030405060708);
	m.echo = UINT64_C(0xf1f2f3f4f5f6f7f8);
	m.seq = 77;
	switch (kind) {
	case FLOW_ASK:
	case FLOW_FLOWS:
		m.u.flows.n = 3;
		for (unsigned int i = 0; i < 3; i++) {
			m.u.flows.flow[i] = a_flow(i, i != 1);
			m.u.flows.flow[i].node = kind == FLOW_FLOWS ? 5 : NOBODY;
		}
		break;
	case FLOW_ASK_BUCKETS:
		m.u.buckets.service = 15;
		m.u.buckets.hash = 1;
		m.u.buckets.epoch = 1234567890123;
		m.u.buckets.buckets = 65536;
		m.u.buckets.first = 65536 - 8 * 40;
		m.u.buckets.n_bytes = 40;
		for (unsigned int i = 0; i < 40; i++)
			m.u.buckets.bitmap[i] = (uint8_t)(i * 37);
		break;
	case FLOW_LOAD:
		m.u.load.n = SERVICES_MAX;
		for (unsigned int i = 0; i < SERVICES_MAX; i++)
			m.u.load.conns[i] = UINT32_MAX - i;
		break;
	case FLOW_PROBE:
		m.u.probe.id = 0xabcdef01;
		m.u.probe.size = 1472;
		break;
	case FLOW_PROBE_REPLY:
		m.u.probe.id = 0xabcdef01;
		m.u.probe.size = 1400;
		break;
	}
	return m;
}

static void round_trip(void **state)
{
	static uint8_t buf[FLOW_PROBE_MAX];

	for (unsigned int kind = FLOW_ASK; kind <= FLOW_PROBE_REPLY; kind++) {
		struct flow_msg m = message((enum flow_kind)kind), got;
		size_t size = flow_encode(&m, key, buf, sizeof(buf));

		assert_in_range(size, FLOW_HEAD_SIZE + FLOW_MAC_SIZE + 1,
				kind == FLOW_PROBE ? 1472 : FLOW_SIZE_MAX);
		if (kind == FLOW_PROBE)
			assert_int_equal(size, 1472);
		memset(&got, 0xee, sizeof(got));
		assert_int_equal(flow_decode(&got, key, buf, size), 0);
		assert_memory_equal(&got, &m, sizeof(m));
	}
}

/* Full datagrams of each kind stay below 1200 bytes. */
static void sizes(void **state)
{
	uint8_t buf[FLOW_SIZE_MAX];
	struct flow_msg m = message(FLOW_FLOWS), got;
	struct flow many[200];

	for (unsigned int v4 = 0; v4 < 2; v4++) {
		for (unsigned int i = 0; i < 200; i++)
			many[i] = a_flow(i, v4);
		m.u.flows.n = flow_fit(many, 200);
		assert_int_equal(m.u.flows.n, v4 ? FLOW_FLOWS_MAX : 29);
		memcpy(m.u.flows.flow, many, m.u.flows.n * sizeof(*many));
		assert_in_range(flow_encode(&m, key, buf, sizeof(buf)), 1100, FLOW_SIZE_MAX);
		assert_int_equal(flow_decode(&got, key, buf,
					     flow_encode(&m, key, buf, sizeof(buf))), 0);
		assert_memory_equal(&got, &m, sizeof(m));
	}
	assert_int_equal(flow_fit(many, 0), 0);
	assert_int_equal(flow_fit(many, 1), 1);
	m = message(FLOW_ASK_BUCKETS);
	m.u.buckets.first = 0;
	m.u.buckets.n_bytes = FLOW_BITMAP_MAX;
	assert_in_range(flow_encode(&m, key, buf, sizeof(buf)), FLOW_BITMAP_MAX, FLOW_SIZE_MAX);
}

static void refused(void **state)
{
	uint8_t buf[FLOW_SIZE_MAX], other[FLOW_KEY_SIZE] = "another cluster";
	struct flow_msg m = message(FLOW_LOAD), got, before;
	size_t size = flow_encode(&m, key, buf, sizeof(buf));

	memset(&before, 0x55, sizeof(before));
	got = before;
	assert_int_equal(flow_decode(&got, other, buf, size), -EACCES);
	buf[4]++;
	assert_int_equal(flow_decode(&got, key, buf, size), -EPROTO);
	buf[4]--;
	buf[0]++;
	assert_int_equal(flow_decode(&got, key, buf, size), -EBADMSG);
	assert_int_equal(flow_decode(&got, key, buf, 0), -EBADMSG);
	assert_memory_equal(&got, &before, sizeof(got));
}

/* Nothing that is cut off or has one bit changed is taken for a message. */
static void damage(void **state)
{
	static uint8_t buf[FLOW_PROBE_MAX];

	for (unsigned int kind = FLOW_ASK; kind <= FLOW_PROBE_REPLY; kind++) {
		struct flow_msg m = message((enum flow_kind)kind), got, before;
		size_t size = flow_encode(&m, key, buf, sizeof(buf)), i;

		memset(&before, 0x55, sizeof(before));
		got = before;
		for (i = 0; i < size; i++) {
			uint8_t *exact = malloc(i + 1);	/* so that a sanitizer sees every overrun */

			memcpy(exact, buf, i);
			assert_int_not_equal(flow_decode(&got, key, exact, i), 0);
			free(exact);
		}
		for (i = 0; i < size * 8; i += kind == FLOW_PROBE ? 7 : 1) {
			buf[i / 8] ^= (uint8_t)(1 << i % 8);
			assert_int_not_equal(flow_decode(&got, key, buf, size), 0);
			buf[i / 8] ^= (uint8_t)(1 << i % 8);
		}
		assert_memory_equal(&got, &before, sizeof(got));
	}
}

static void seal(uint8_t *buf, size_t size)
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, FLOW_KEY_SIZE, key);
	hmac_sha256_update(&ctx, size - FLOW_MAC_SIZE, buf);
	hmac_sha256_digest(&ctx, FLOW_MAC_SIZE, buf + size - FLOW_MAC_SIZE);
}

static bool sound(const struct flow_msg *m)
{
	if (m->from < 1 || m->from > NODES_MAX || m->to < 1 || m->to > NODES_MAX)
		return false;
	if (m->kind == FLOW_ASK || m->kind == FLOW_FLOWS) {
		if (m->u.flows.n > FLOW_FLOWS_MAX)
			return false;
		for (unsigned int i = 0; i < m->u.flows.n; i++) {
			const struct flow *f = &m->u.flows.flow[i];

			if (f->service >= SERVICES_MAX || !f->client.family ||
			    f->client.family != f->vip.family ||
			    (f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP) ||
			    f->node != (m->kind == FLOW_FLOWS ? m->from : NOBODY))
				return false;
		}
	}
	if (m->kind == FLOW_ASK_BUCKETS)
		return m->u.buckets.service < SERVICES_MAX && m->u.buckets.n_bytes <= FLOW_BITMAP_MAX &&
		       m->u.buckets.first + m->u.buckets.n_bytes * 8u <= m->u.buckets.buckets &&
		       m->u.buckets.buckets <= BUCKETS_MAX;
	if (m->kind == FLOW_LOAD)
		return m->u.load.n <= SERVICES_MAX;
	return m->kind == FLOW_PROBE || m->kind == FLOW_PROBE_REPLY || m->kind <= FLOW_FLOWS;
}

/* A member gone mad: any bytes, rightly signed.  What is taken must be sound. */
static void mad(void **state)
{
	uint8_t buf[FLOW_SIZE_MAX];
	unsigned int taken = 0;
	struct flow_msg got;

	srand(4711);
	for (unsigned int round = 0; round < 60000; round++) {
		struct flow_msg m = message((enum flow_kind)(FLOW_ASK + round % 6));
		size_t size, cut;

		if (m.kind == FLOW_PROBE)
			m.u.probe.size = 100;
		size = flow_encode(&m, key, buf, sizeof(buf));
		for (int n = rand() % 4; n >= 0; n--)
			buf[5 + (size_t)rand() % (size - 5)] = (uint8_t)rand();
		cut = rand() % 4 ? size : FLOW_HEAD_SIZE + FLOW_MAC_SIZE + (size_t)rand() %
					  (size - FLOW_HEAD_SIZE - FLOW_MAC_SIZE);
		seal(buf, cut);
		if (!flow_decode(&got, key, buf, cut)) {
			taken++;
			assert_true(sound(&got));
		}
	}
	assert_in_range(taken, 1000, 59000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(sizes), cmocka_unit_test(refused),
		cmocka_unit_test(damage), cmocka_unit_test(mad),
	};

	return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
