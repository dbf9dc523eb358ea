// SPDX-License-Identifier: GPL-2.0-or-later
#include "wire/msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/buf.h"
#include "util/jhash.h"

#define MSG_MAGIC UINT32_C(0x4344474d)	/* "CDGM" */
#define BITMAP_MAX (BUCKETS_MAX / 8)

_Static_assert(SNAP_CHUNK + 64 < MSG_SIZE_MAX && BITMAP_MAX + 64 < MSG_SIZE_MAX,
	       "every message must fit MSG_SIZE_MAX");

static uint32_t cluster_hash(const char *cluster)
{
	return jhash(cluster, strlen(cluster), MSG_MAGIC);
}

/* ---- what is allowed; asked on both ways, so that we never send what peers refuse ---- */

static bool id_valid(unsigned int id)
{
	return id != NOBODY && id <= NODES_MAX;
}

static bool snap_valid(const struct msg *m)
{
	return m->u.snap.size <= SNAP_CHUNK && m->u.snap.total <= SNAP_TOTAL_MAX &&
	       m->u.snap.offset <= m->u.snap.total &&
	       m->u.snap.size <= m->u.snap.total - m->u.snap.offset;
}

static bool addr_valid(const struct addr *a, uint8_t family)
{
	return a->family == 0 || a->family == family;
}

static bool ready_valid(const struct msg *m)
{
	if (m->u.ready.n_links > SERVICES_MAX || m->u.ready.weight > 1000)
		return false;
	for (unsigned int i = 0; i < m->u.ready.n_links; i++)
		if (!addr_valid(&m->u.ready.link[i].addr4, AF_INET) ||
		    !addr_valid(&m->u.ready.link[i].addr6, AF_INET6) ||
		    m->u.ready.health[i] >= FITNESS_N)
			return false;
	return true;
}

static bool order_valid(const struct msg *m)
{
	uint16_t value = m->u.order.value;

	if (m->u.order.type >= ORDER_TYPES_N || m->u.order.node > NODES_MAX)
		return false;
	switch ((enum order_type)m->u.order.type) {
	case ORDER_DRAIN:
	case ORDER_UNDRAIN:
	case ORDER_TAKEOVER:
		return m->u.order.node != NOBODY;
	case ORDER_WEIGHT:
		return m->u.order.node != NOBODY && (value <= 1000 || value == ORDER_AUTO);
	case ORDER_CONF_WEIGHT:
		return value <= 1000;
	case ORDER_RAMP:
		return m->u.order.node != NOBODY && value >= 1 && value <= RAMP_FULL;
	case ORDER_FAILBACK:
	case ORDER_LEAVE:
		return true;
	case ORDER_TYPES_N:
		break;
	}
	return false;
}

static bool reweigh_valid(const struct msg *m)
{
	unsigned int last = NOBODY;

	if (m->u.reweigh.service >= SERVICES_MAX || m->u.reweigh.n > NODES_MAX)
		return false;
	for (unsigned int i = 0; i < m->u.reweigh.n; i++) {
		const struct policy_sample *p = &m->u.reweigh.node[i];

		if (p->node <= last || p->node > NODES_MAX || p->load > 1000 || p->cpu_idle > 1000)
			return false;
		last = p->node;
	}
	return true;
}

static bool health_valid(const struct msg *m)
{
	return m->u.health.service < SERVICES_MAX && id_valid(m->u.health.node) &&
	       m->u.health.health < FITNESS_N &&
	       (m->u.health.node == m->from || m->u.health.health != FITNESS_WORKS);
}

static bool bitmap_valid(unsigned int service, uint32_t size)
{
	return service < SERVICES_MAX && size % 8 == 0 && size > 0 && size <= BITMAP_MAX;
}

static bool msg_valid(const struct msg *m)
{
	if (!id_valid(m->from))
		return false;
	switch (m->type) {
	case MSG_SNAP:
		return snap_valid(m);
	case MSG_READY:
		return ready_valid(m);
	case MSG_FAIL:
		return id_valid(m->u.fail.node) && m->u.fail.kind <= FAIL_SELF;
	case MSG_DRAINED:
		return bitmap_valid(m->u.drained.service, m->u.drained.size);
	case MSG_GRACE_END:
		return id_valid(m->u.grace.node);
	case MSG_ORDER:
		return order_valid(m);
	case MSG_CLEAR_REQ:
	case MSG_CLEAR_ACK:
		return id_valid(m->u.clear.by) && id_valid(m->u.clear.node);
	case MSG_LAYOUT:
		return layout_valid(&m->u.layout);
	case MSG_LOAD:
		return m->u.load.load <= 1000 && m->u.load.cpu_idle <= 1000;
	case MSG_REWEIGH:
		return reweigh_valid(m);
	case MSG_IDLE:
		return bitmap_valid(m->u.idle.service, m->u.idle.size);
	case MSG_HEALTH:
		return health_valid(m);
	case MSG_UNMIXED:
	case MSG_ROUND:
	case MSG_STATE:
	case MSG_BYE:
	case MSG_PLAN:
	case MSG_ACK:
	case MSG_LEFT:
	case MSG_ADOPTED:
	case MSG_DIGEST:
		return true;
	case MSG_NONE:
	case MSG_TYPES_N:
		break;
	}
	return false;
}

/* ---- encode ---- */

static void put_addr(struct buf_w *w, const struct addr *a)
{
	buf_put8(w, a->family == AF_INET ? 4 : a->family == AF_INET6 ? 6 : 0);
	buf_put(w, a->b, addr_size(a));
}

static void put_layout(struct buf_w *w, const struct layout *l)
{
	buf_put32(w, l->buckets);
	buf_put(w, l->hash, sizeof(l->hash));
}

static void put_ready(struct buf_w *w, const struct msg *m)
{
	buf_put64(w, m->u.ready.config);
	buf_put16(w, m->u.ready.weight);
	buf_put8(w, m->u.ready.hold_back);
	buf_put8(w, m->u.ready.slow);
	buf_put8(w, m->u.ready.n_links);
	for (unsigned int i = 0; i < m->u.ready.n_links; i++) {
		const struct link *l = &m->u.ready.link[i];

		buf_put(w, l->mac, sizeof(l->mac));
		put_addr(w, &l->addr4);
		put_addr(w, &l->addr6);
		buf_put8(w, m->u.ready.health[i]);
	}
}

static void put_snap(struct buf_w *w, const struct msg *m)
{
	buf_put32(w, m->u.snap.round);
	buf_put32(w, m->u.snap.index);
	buf_put32(w, m->u.snap.offset);
	buf_put32(w, m->u.snap.total);
	buf_put32(w, m->u.snap.size);
	buf_put(w, m->u.snap.data, m->u.snap.size);
}

static void put_drained(struct buf_w *w, const struct msg *m)
{
	buf_put8(w, m->u.drained.service);
	buf_put8(w, m->u.drained.forced);
	buf_put64(w, m->u.drained.epoch);
	buf_put32(w, m->u.drained.size);
	buf_put(w, m->u.drained.bitmap, m->u.drained.size);
}

/* Services that have nothing to tell, at the end of the list, are left out. */
static unsigned int load_services(const struct sample *p)
{
	unsigned int n = SERVICES_MAX;

	while (n && !p->conns[n - 1] && !p->kbps[n - 1])
		n--;
	return n;
}

static void put_load(struct buf_w *w, const struct sample *p)
{
	unsigned int n = load_services(p);

	buf_put16(w, p->load);
	buf_put16(w, p->cpu_idle);
	buf_put32(w, p->mem_free_kb);
	buf_put16(w, p->blocked);
	buf_put16(w, p->swapping);
	buf_put8(w, (uint8_t)n);
	for (unsigned int i = 0; i < n; i++) {
		buf_put32(w, p->conns[i]);
		buf_put32(w, p->kbps[i]);
	}
}

static void put_reweigh(struct buf_w *w, const struct msg *m)
{
	buf_put8(w, m->u.reweigh.service);
	buf_put8(w, m->u.reweigh.n);
	for (unsigned int i = 0; i < m->u.reweigh.n; i++) {
		const struct policy_sample *p = &m->u.reweigh.node[i];

		buf_put8(w, p->node);
		buf_put16(w, p->load);
		buf_put16(w, p->cpu_idle);
		buf_put16(w, p->blocked);
		buf_put16(w, p->swapping);
		buf_put32(w, p->mem_free_kb);
		buf_put32(w, p->conns);
	}
}

static void put_idle(struct buf_w *w, const struct msg *m)
{
	buf_put8(w, m->u.idle.service);
	buf_put64(w, m->u.idle.epoch);
	buf_put32(w, m->u.idle.size);
	buf_put(w, m->u.idle.bitmap, m->u.idle.size);
}

static void put_body(struct buf_w *w, const struct msg *m)
{
	switch (m->type) {
	case MSG_ROUND:
		buf_put32(w, m->u.round);
		break;
	case MSG_STATE:
		buf_put32(w, m->u.state.round);
		buf_put64(w, m->u.state.epoch);
		buf_put64(w, m->u.state.digest);
		buf_put64(w, m->u.state.lineage);
		buf_put64(w, m->u.state.config);
		buf_put64(w, m->u.state.dead);
		buf_put8(w, m->u.state.primary);
		break;
	case MSG_SNAP:
		put_snap(w, m);
		break;
	case MSG_READY:
		put_ready(w, m);
		break;
	case MSG_FAIL:
		buf_put8(w, m->u.fail.node);
		buf_put8(w, m->u.fail.kind);
		buf_put32(w, m->u.fail.term);
		break;
	case MSG_ACK:
	case MSG_LEFT:
	case MSG_ADOPTED:
		buf_put64(w, m->u.plan.plan);
		break;
	case MSG_DRAINED:
		put_drained(w, m);
		break;
	case MSG_GRACE_END:
		buf_put8(w, m->u.grace.node);
		break;
	case MSG_ORDER:
		buf_put8(w, m->u.order.type);
		buf_put8(w, m->u.order.node);
		buf_put16(w, m->u.order.value);
		break;
	case MSG_CLEAR_REQ:
	case MSG_CLEAR_ACK:
		buf_put8(w, m->u.clear.by);
		buf_put8(w, m->u.clear.node);
		buf_put32(w, m->u.clear.term);
		buf_put32(w, m->u.clear.gen);
		break;
	case MSG_DIGEST:
		buf_put64(w, m->u.digest.epoch);
		buf_put64(w, m->u.digest.digest);
		break;
	case MSG_LAYOUT:
		put_layout(w, &m->u.layout);
		break;
	case MSG_UNMIXED:
		buf_put64(w, m->u.unmixed.rehash);
		buf_put8(w, m->u.unmixed.forced);
		break;
	case MSG_LOAD:
		put_load(w, &m->u.load);
		break;
	case MSG_REWEIGH:
		put_reweigh(w, m);
		break;
	case MSG_IDLE:
		put_idle(w, m);
		break;
	case MSG_HEALTH:
		buf_put8(w, m->u.health.service);
		buf_put8(w, m->u.health.node);
		buf_put8(w, m->u.health.health);
		break;
	case MSG_NONE:
	case MSG_BYE:
	case MSG_PLAN:
	case MSG_TYPES_N:
		break;
	}
}

size_t msg_encode(const struct msg *m, const char *cluster, void *buf, size_t size)
{
	struct buf_w w = buf_writer(buf, size);

	if (!msg_valid(m))
		return 0;
	buf_put32(&w, MSG_MAGIC);
	buf_put8(&w, MSG_VERSION);
	buf_put8(&w, (uint8_t)m->type);
	buf_put8(&w, m->from);
	buf_put8(&w, 0);
	buf_put32(&w, cluster_hash(cluster));
	buf_put64(&w, m->incarnation);
	put_body(&w, m);
	return w.err ? 0 : w.pos;
}

/* ---- decode ---- */

/* 0 or 1; anything else is an error, as it would not survive another round trip. */
static bool get_bool(struct buf_r *r)
{
	uint8_t v = buf_get8(r);

	if (v > 1)
		r->err = true;
	return v == 1;
}

/* A pointer to the next 'size' bytes of the input. */
static const uint8_t *get_bytes(struct buf_r *r, size_t size)
{
	const uint8_t *p = r->p + r->pos;

	if (r->err || size > buf_left(r)) {
		r->err = true;
		return NULL;
	}
	r->pos += size;
	return p;
}

static void get_addr(struct buf_r *r, struct addr *a, uint8_t kind, uint8_t family)
{
	uint8_t v = buf_get8(r);

	if (v == 0)
		return;
	if (v != kind) {
		r->err = true;
		return;
	}
	a->family = family;
	buf_get(r, a->b, addr_size(a));
}

static void get_layout(struct buf_r *r, struct layout *l)
{
	l->buckets = buf_get32(r);
	buf_get(r, l->hash, sizeof(l->hash));
}

static void get_ready(struct buf_r *r, struct msg *m)
{
	m->u.ready.config = buf_get64(r);
	m->u.ready.weight = buf_get16(r);
	m->u.ready.hold_back = get_bool(r);
	m->u.ready.slow = get_bool(r);
	m->u.ready.n_links = buf_get8(r);
	if (m->u.ready.n_links > SERVICES_MAX) {
		r->err = true;
		return;
	}
	for (unsigned int i = 0; i < m->u.ready.n_links; i++) {
		struct link *l = &m->u.ready.link[i];

		buf_get(r, l->mac, sizeof(l->mac));
		get_addr(r, &l->addr4, 4, AF_INET);
		get_addr(r, &l->addr6, 6, AF_INET6);
		m->u.ready.health[i] = buf_get8(r);
	}
}

static void get_snap(struct buf_r *r, struct msg *m)
{
	m->u.snap.round = buf_get32(r);
	m->u.snap.index = buf_get32(r);
	m->u.snap.offset = buf_get32(r);
	m->u.snap.total = buf_get32(r);
	m->u.snap.size = buf_get32(r);
	m->u.snap.data = get_bytes(r, m->u.snap.size);
}

static void get_drained(struct buf_r *r, struct msg *m)
{
	m->u.drained.service = buf_get8(r);
	m->u.drained.forced = get_bool(r);
	m->u.drained.epoch = buf_get64(r);
	m->u.drained.size = buf_get32(r);
	m->u.drained.bitmap = get_bytes(r, m->u.drained.size);
}

static void get_load(struct buf_r *r, struct sample *p)
{
	unsigned int n;

	p->load = buf_get16(r);
	p->cpu_idle = buf_get16(r);
	p->mem_free_kb = buf_get32(r);
	p->blocked = buf_get16(r);
	p->swapping = buf_get16(r);
	n = buf_get8(r);
	if (n > SERVICES_MAX) {
		r->err = true;
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		p->conns[i] = buf_get32(r);
		p->kbps[i] = buf_get32(r);
	}
	if (load_services(p) != n)	/* it would not survive another round trip */
		r->err = true;
}

static void get_reweigh(struct buf_r *r, struct msg *m)
{
	m->u.reweigh.service = buf_get8(r);
	m->u.reweigh.n = buf_get8(r);
	if (m->u.reweigh.n > NODES_MAX) {
		r->err = true;
		return;
	}
	for (unsigned int i = 0; i < m->u.reweigh.n; i++) {
		struct policy_sample *p = &m->u.reweigh.node[i];

		p->node = buf_get8(r);
		p->load = buf_get16(r);
		p->cpu_idle = buf_get16(r);
		p->blocked = buf_get16(r);
		p->swapping = buf_get16(r);
		p->mem_free_kb = buf_get32(r);
		p->conns = buf_get32(r);
	}
}

static void get_idle(struct buf_r *r, struct msg *m)
{
	m->u.idle.service = buf_get8(r);
	m->u.idle.epoch = buf_get64(r);
	m->u.idle.size = buf_get32(r);
	m->u.idle.bitmap = get_bytes(r, m->u.idle.size);
}

static void get_body(struct buf_r *r, struct msg *m)
{
	switch (m->type) {
	case MSG_ROUND:
		m->u.round = buf_get32(r);
		break;
	case MSG_STATE:
		m->u.state.round = buf_get32(r);
		m->u.state.epoch = buf_get64(r);
		m->u.state.digest = buf_get64(r);
		m->u.state.lineage = buf_get64(r);
		m->u.state.config = buf_get64(r);
		m->u.state.dead = buf_get64(r);
		m->u.state.primary = get_bool(r);
		break;
	case MSG_SNAP:
		get_snap(r, m);
		break;
	case MSG_READY:
		get_ready(r, m);
		break;
	case MSG_FAIL:
		m->u.fail.node = buf_get8(r);
		m->u.fail.kind = buf_get8(r);
		m->u.fail.term = buf_get32(r);
		break;
	case MSG_ACK:
	case MSG_LEFT:
	case MSG_ADOPTED:
		m->u.plan.plan = buf_get64(r);
		break;
	case MSG_DRAINED:
		get_drained(r, m);
		break;
	case MSG_GRACE_END:
		m->u.grace.node = buf_get8(r);
		break;
	case MSG_ORDER:
		m->u.order.type = buf_get8(r);
		m->u.order.node = buf_get8(r);
		m->u.order.value = buf_get16(r);
		break;
	case MSG_CLEAR_REQ:
	case MSG_CLEAR_ACK:
		m->u.clear.by = buf_get8(r);
		m->u.clear.node = buf_get8(r);
		m->u.clear.term = buf_get32(r);
		m->u.clear.gen = buf_get32(r);
		break;
	case MSG_DIGEST:
		m->u.digest.epoch = buf_get64(r);
		m->u.digest.digest = buf_get64(r);
		break;
	case MSG_LAYOUT:
		get_layout(r, &m->u.layout);
		break;
	case MSG_UNMIXED:
		m->u.unmixed.rehash = buf_get64(r);
		m->u.unmixed.forced = get_bool(r);
		break;
	case MSG_LOAD:
		get_load(r, &m->u.load);
		break;
	case MSG_REWEIGH:
		get_reweigh(r, m);
		break;
	case MSG_IDLE:
		get_idle(r, m);
		break;
	case MSG_HEALTH:
		m->u.health.service = buf_get8(r);
		m->u.health.node = buf_get8(r);
		m->u.health.health = buf_get8(r);
		break;
	case MSG_NONE:
	case MSG_BYE:
	case MSG_PLAN:
	case MSG_TYPES_N:
		break;
	}
}

int msg_decode(struct msg *m, const char *cluster, const void *buf, size_t size)
{
	struct buf_r r = buf_reader(buf, size);
	struct msg v = { 0 };
	uint32_t magic, hash;
	uint8_t version, reserved;

	magic = buf_get32(&r);
	version = buf_get8(&r);
	if (r.err || magic != MSG_MAGIC)
		return -EBADMSG;
	if (version != MSG_VERSION)
		return -EPROTO;
	v.type = buf_get8(&r);
	v.from = buf_get8(&r);
	reserved = buf_get8(&r);
	hash = buf_get32(&r);
	v.incarnation = buf_get64(&r);
	if (r.err)
		return -EBADMSG;
	if (hash != cluster_hash(cluster))
		return -EXDEV;
	get_body(&r, &v);
	if (r.err || reserved != 0 || buf_left(&r) != 0 || !msg_valid(&v))
		return -EBADMSG;
	*m = v;
	return 0;
}
