/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "wire/hello.h"

#include <assert.h>
#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>

#include "util/buf.h"

#define HELLO_MAGIC UINT32_C(0x43444842)	/* "CDHB" */

_Static_assert(HELLO_SIZE_MAX < 1400, "a HELLO must fit one unfragmented datagram");

static bool id_valid(unsigned int id)
{
	return id != NOBODY && id <= NODES_MAX;
}

static void hello_mac(const uint8_t key[HELLO_KEY_SIZE], const void *data, size_t size,
		      uint8_t mac[HELLO_MAC_SIZE])
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, HELLO_KEY_SIZE, key);
	hmac_sha256_update(&ctx, size, data);
	hmac_sha256_digest(&ctx, HELLO_MAC_SIZE, mac);
}

size_t hello_encode(const struct hello *h, const uint8_t key[HELLO_KEY_SIZE],
		    void *buf, size_t size)
{
	struct buf_w w = buf_writer(buf, size);
	uint8_t mac[HELLO_MAC_SIZE];

	assert(id_valid(h->from) && id_valid(h->to) && h->n_reports <= NODES_MAX);

	buf_put32(&w, HELLO_MAGIC);
	buf_put8(&w, HELLO_VERSION);
	buf_put8(&w, h->from);
	buf_put8(&w, h->to);
	buf_put8(&w, h->n_reports);
	buf_put32(&w, h->term);
	buf_put64(&w, h->incarnation);
	buf_put64(&w, h->seq);
	buf_put64(&w, h->echo_incarnation);
	buf_put64(&w, h->echo_seq);
	buf_put32(&w, 0);
	for (unsigned int i = 0; i < h->n_reports; i++) {
		assert(id_valid(h->report[i].node));
		buf_put8(&w, h->report[i].node);
		buf_put32(&w, h->report[i].term);
		buf_put32(&w, h->report[i].gen);
	}
	assert(!w.err);
	hello_mac(key, buf, w.pos, mac);
	buf_put(&w, mac, sizeof(mac));
	assert(!w.err);
	return w.pos;
}

int hello_decode(struct hello *h, const uint8_t key[HELLO_KEY_SIZE], const void *buf, size_t size)
{
	struct buf_r r = buf_reader(buf, size);
	uint8_t mac[HELLO_MAC_SIZE];
	struct hello v = { 0 };
	uint32_t magic, flags;
	uint8_t version;

	magic = buf_get32(&r);
	version = buf_get8(&r);
	if (r.err || magic != HELLO_MAGIC)
		return -EBADMSG;
	/* Before the length and the HMAC: another version may place them elsewhere. */
	if (version != HELLO_VERSION)
		return -EPROTO;
	v.from = buf_get8(&r);
	v.to = buf_get8(&r);
	v.n_reports = buf_get8(&r);
	if (r.err || v.n_reports > NODES_MAX || size != HELLO_HEAD_SIZE + HELLO_MAC_SIZE +
						     v.n_reports * (size_t)HELLO_REPORT_SIZE)
		return -EBADMSG;

	hello_mac(key, buf, size - HELLO_MAC_SIZE, mac);
	if (!memeql_sec(mac, (const uint8_t *)buf + size - HELLO_MAC_SIZE, HELLO_MAC_SIZE))
		return -EACCES;

	v.term = buf_get32(&r);
	v.incarnation = buf_get64(&r);
	v.seq = buf_get64(&r);
	v.echo_incarnation = buf_get64(&r);
	v.echo_seq = buf_get64(&r);
	flags = buf_get32(&r);
	if (!id_valid(v.from) || !id_valid(v.to) || flags != 0)
		return -EBADMSG;
	for (unsigned int i = 0; i < v.n_reports; i++) {
		v.report[i].node = buf_get8(&r);
		v.report[i].term = buf_get32(&r);
		v.report[i].gen = buf_get32(&r);
		if (!id_valid(v.report[i].node))
			return -EBADMSG;
	}
	assert(!r.err && buf_left(&r) == HELLO_MAC_SIZE);
	*h = v;
	return 0;
}
