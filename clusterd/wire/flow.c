/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "wire/flow.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>
#include <sys/socket.h>

#include "util/buf.h"

#define FLOW_MAGIC  UINT32_C(0x4344464c)	/* "CDFL" */
#define BODY_MAX    (FLOW_SIZE_MAX - FLOW_HEAD_SIZE - FLOW_MAC_SIZE)
#define FLOW4_SIZE  (3 + 2 * 4 + 4)
#define FLOW6_SIZE  (3 + 2 * 16 + 4)
#define BUCKETS_HEAD (1 + 1 + 2 + 8 + 4 + 4)

_Static_assert(1 + FLOW_FLOWS_MAX * FLOW4_SIZE <= BODY_MAX, "IPv4 flows fit");
_Static_assert(BUCKETS_HEAD + FLOW_BITMAP_MAX <= BODY_MAX, "a bitmap fits");

static bool id_valid(unsigned int id)
{
	return id != NOBODY && id <= NODES_MAX;
}

static void flow_mac(const uint8_t key[FLOW_KEY_SIZE], const void *data, size_t size,
		     uint8_t mac[FLOW_MAC_SIZE])
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, FLOW_KEY_SIZE, key);
	hmac_sha256_update(&ctx, size, data);
	hmac_sha256_digest(&ctx, FLOW_MAC_SIZE, mac);
}

unsigned int flow_fit(const struct flow *flow, unsigned int n)
{
	size_t used = 1;
	unsigned int i;

	for (i = 0; i < n && i < FLOW_FLOWS_MAX; i++) {
		used += flow[i].client.family == AF_INET ? FLOW4_SIZE : FLOW6_SIZE;
		if (used > BODY_MAX)
			break;
	}
	return i;
}

static void put_flows(struct buf_w *w, const struct flow_msg *m)
{
	assert(m->u.flows.n == flow_fit(m->u.flows.flow, m->u.flows.n));
	buf_put8(w, (uint8_t)m->u.flows.n);
	for (unsigned int i = 0; i < m->u.flows.n; i++) {
		const struct flow *f = &m->u.flows.flow[i];
		uint8_t size = f->client.family == AF_INET ? 4 : 16;

		assert(f->service < SERVICES_MAX && f->client.family == f->vip.family);
		buf_put8(w, f->service);
		buf_put8(w, f->proto);
		buf_put8(w, size);
		buf_put(w, f->client.b, size);
		buf_put(w, f->vip.b, size);
		buf_put16(w, f->sport);
		buf_put16(w, f->dport);
	}
}

static void put_body(struct buf_w *w, const struct flow_msg *m)
{
	static const uint8_t zero[FLOW_PROBE_MAX];

	switch ((enum flow_kind)m->kind) {
	case FLOW_ASK:
	case FLOW_FLOWS:
		put_flows(w, m);
		return;
	case FLOW_ASK_BUCKETS:
		assert(m->u.buckets.n_bytes <= FLOW_BITMAP_MAX);
		buf_put8(w, m->u.buckets.service);
		buf_put8(w, m->u.buckets.hash);
		buf_put16(w, m->u.buckets.n_bytes);
		buf_put64(w, m->u.buckets.epoch);
		buf_put32(w, m->u.buckets.buckets);
		buf_put32(w, m->u.buckets.first);
		buf_put(w, m->u.buckets.bitmap, m->u.buckets.n_bytes);
		return;
	case FLOW_LOAD:
		assert(m->u.load.n <= SERVICES_MAX);
		buf_put8(w, (uint8_t)m->u.load.n);
		for (unsigned int i = 0; i < m->u.load.n; i++)
			buf_put32(w, m->u.load.conns[i]);
		return;
	case FLOW_PROBE:
		assert(m->u.probe.size >= FLOW_PROBE_MIN && m->u.probe.size <= FLOW_PROBE_MAX);
		buf_put32(w, m->u.probe.id);
		buf_put(w, zero, m->u.probe.size - (size_t)FLOW_PROBE_MIN);
		return;
	case FLOW_PROBE_REPLY:
		buf_put32(w, m->u.probe.id);
		buf_put16(w, m->u.probe.size);
		return;
	}
	assert(false);
}

size_t flow_encode(const struct flow_msg *m, const uint8_t key[FLOW_KEY_SIZE], void *buf,
		   size_t size)
{
	struct buf_w w = buf_writer(buf, size);
	uint8_t mac[FLOW_MAC_SIZE];

	assert(id_valid(m->from) && id_valid(m->to));
	buf_put32(&w, FLOW_MAGIC);
	buf_put8(&w, FLOW_VERSION);
	buf_put8(&w, m->kind);
	buf_put8(&w, m->from);
	buf_put8(&w, m->to);
	buf_put64(&w, m->incarnation);
	buf_put64(&w, m->echo);
	buf_put64(&w, m->seq);
	put_body(&w, m);
	assert(!w.err);
	flow_mac(key, buf, w.pos, mac);
	buf_put(&w, mac, sizeof(mac));
	assert(!w.err);
	return w.pos;
}

/* ---- reading ---- */

static bool get_flow(struct buf_r *r, struct flow *f, uint8_t node)
{
	uint8_t size;

	memset(f, 0, sizeof(*f));
	f->node = node;
	f->service = buf_get8(r);
	f->proto = buf_get8(r);
	size = buf_get8(r);
	if (f->service >= SERVICES_MAX || (f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP) ||
	    (size != 4 && size != 16))
		return false;
	f->client.family = f->vip.family = size == 4 ? AF_INET : AF_INET6;
	buf_get(r, f->client.b, size);
	buf_get(r, f->vip.b, size);
	f->sport = buf_get16(r);
	f->dport = buf_get16(r);
	return !r->err;
}

static bool get_flows(struct buf_r *r, struct flow_msg *m)
{
	m->u.flows.n = buf_get8(r);
	if (m->u.flows.n > FLOW_FLOWS_MAX)
		return false;
	for (unsigned int i = 0; i < m->u.flows.n; i++)
		if (!get_flow(r, &m->u.flows.flow[i], m->kind == FLOW_FLOWS ? m->from : NOBODY))
			return false;
	return true;
}

static bool get_buckets(struct buf_r *r, struct flow_msg *m)
{
	uint32_t buckets, first, bytes;

	m->u.buckets.service = buf_get8(r);
	m->u.buckets.hash = buf_get8(r);
	bytes = m->u.buckets.n_bytes = buf_get16(r);
	m->u.buckets.epoch = buf_get64(r);
	buckets = m->u.buckets.buckets = buf_get32(r);
	first = m->u.buckets.first = buf_get32(r);
	if (r->err || m->u.buckets.service >= SERVICES_MAX || bytes > FLOW_BITMAP_MAX ||
	    buckets < BUCKETS_MIN || buckets > BUCKETS_MAX || buckets & (buckets - 1) ||
	    first % 8 || first >= buckets || bytes > (buckets - first) / 8)
		return false;
	memset(m->u.buckets.bitmap, 0, sizeof(m->u.buckets.bitmap));
	buf_get(r, m->u.buckets.bitmap, bytes);
	return true;
}

static bool get_body(struct buf_r *r, struct flow_msg *m, size_t size)
{
	uint8_t byte;

	switch ((enum flow_kind)m->kind) {
	case FLOW_ASK:
	case FLOW_FLOWS:
		return get_flows(r, m);
	case FLOW_ASK_BUCKETS:
		return get_buckets(r, m);
	case FLOW_LOAD:
		m->u.load.n = buf_get8(r);
		if (m->u.load.n > SERVICES_MAX)
			return false;
		for (unsigned int i = 0; i < m->u.load.n; i++)
			m->u.load.conns[i] = buf_get32(r);
		return true;
	case FLOW_PROBE:
		m->u.probe.id = buf_get32(r);
		m->u.probe.size = (uint16_t)size;
		while (!r->err && buf_left(r)) {
			byte = buf_get8(r);
			if (byte)
				return false;
		}
		return true;
	case FLOW_PROBE_REPLY:
		m->u.probe.id = buf_get32(r);
		m->u.probe.size = buf_get16(r);
		return true;
	}
	return false;		/* a kind that does not exist */
}

int flow_decode(struct flow_msg *m, const uint8_t key[FLOW_KEY_SIZE], const void *buf, size_t size)
{
	struct buf_r r = buf_reader(buf, size);
	uint8_t mac[FLOW_MAC_SIZE], version;
	struct flow_msg v;
	uint32_t magic;

	memset(&v, 0, sizeof(v));
	magic = buf_get32(&r);
	version = buf_get8(&r);
	if (r.err || magic != FLOW_MAGIC)
		return -EBADMSG;
	/* Before the length and the HMAC: another version may place them elsewhere. */
	if (version != FLOW_VERSION)
		return -EPROTO;
	if (size < FLOW_HEAD_SIZE + FLOW_MAC_SIZE || size > FLOW_PROBE_MAX)
		return -EBADMSG;
	v.kind = buf_get8(&r);
	if (size > FLOW_SIZE_MAX && v.kind != FLOW_PROBE)
		return -EBADMSG;
	flow_mac(key, buf, size - FLOW_MAC_SIZE, mac);
	if (!memeql_sec(mac, (const uint8_t *)buf + size - FLOW_MAC_SIZE, FLOW_MAC_SIZE))
		return -EACCES;

	r.size -= FLOW_MAC_SIZE;
	v.from = buf_get8(&r);
	v.to = buf_get8(&r);
	v.incarnation = buf_get64(&r);
	v.echo = buf_get64(&r);
	v.seq = buf_get64(&r);
	if (!id_valid(v.from) || !id_valid(v.to) || !get_body(&r, &v, size) || r.err ||
	    buf_left(&r))
		return -EBADMSG;
	*m = v;
	return 0;
}
