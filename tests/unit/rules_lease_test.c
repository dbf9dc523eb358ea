/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lease's timing, with a kernel that is late: rules_nl is replaced by the functions below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <endian.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "io/rules_nl.h"

#define CALLS 8

/* What the fake does at each commit, and what it was asked for. */
static struct {
	unsigned int before_ms;	/* waits for the lock before 'prepare' is called again */
	unsigned int after_ms;	/* is late between the clock and the kernel's reading */
	int ret;
	uint64_t asked_ms;	/* 0: no element added */
	bool deleted;
} call[CALLS];
static unsigned int n_calls;

int rules_nl_open(struct rules_nl **out)
{
	*out = NULL;
	return 0;
}

void rules_nl_close(struct rules_nl *nl)
{
}

static const struct nlattr *find(const void *data, size_t size, uint16_t type)
{
	const struct nlattr *a = data;

	for (; mnl_attr_ok(a, (int)((const uint8_t *)data + size - (const uint8_t *)a));
	     a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == type)
			return a;
	return NULL;
}

static void look(const struct rules_batch *b, unsigned int n)
{
	const struct nlmsghdr *nlh = (const void *)b->buf;
	int left = (int)b->used;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		const struct nlattr *list, *elem, *t;

		if (nlh->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM) &&
		    nlh->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM))
			continue;	/* the table itself */
		list = find(mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg)),
			    mnl_nlmsg_get_payload_len(nlh) - 4, NFTA_SET_ELEM_LIST_ELEMENTS);
		assert_non_null(list);
		if ((nlh->nlmsg_type & 0xff) == NFT_MSG_DELSETELEM) {
			call[n].deleted = true;
			continue;
		}
		elem = mnl_attr_get_payload(list);
		t = find(mnl_attr_get_payload(elem), mnl_attr_get_payload_len(elem),
			 NFTA_SET_ELEM_TIMEOUT);
		assert_non_null(t);
		call[n].asked_ms = be64toh(mnl_attr_get_u64(t));
	}
}

int rules_nl_commit(struct rules_nl *nl, struct rules_batch *b, unsigned int tries,
		    int (*prepare)(void *arg), void *arg, struct rules_result *res)
{
	unsigned int n = n_calls++;
	int ret;

	assert_true(n < CALLS);
	usleep(call[n].before_ms * 1000);
	ret = prepare ? prepare(arg) : 0;
	if (ret)
		return ret;
	look(b, n);
	usleep(call[n].after_ms * 1000);
	return call[n].ret;
}

static struct lease_table *begin(void)
{
	char dev[1][IFNAME_SIZE] = { "eth0" };
	struct lease_table *t;

	n_calls = 0;
	memset(call, 0, sizeof(call));
	assert_int_equal(lease_table_open(&t, dev, 1), 0);
	n_calls = 0;
	memset(call, 0, sizeof(call));
	return t;
}

static void test_plain(void **state)
{
	struct lease_table *t = begin();

	assert_int_equal(lease_table_start(t, 1000), 0);
	assert_int_equal(lease_table_renew(t, 1000), 0);
	assert_in_range(n_calls, 2, 4);		/* more if this machine is busy */
	assert_false(call[0].deleted);
	assert_in_range(call[0].asked_ms, 900, 1000);
	assert_true(call[n_calls - 1].deleted);
	assert_int_equal(lease_table_renew(t, 0), -EINVAL);
	lease_table_close(t);
}

/* The lock was held by others: only what is left is asked for. */
static void test_waits(void **state)
{
	struct lease_table *t = begin();

	call[0].before_ms = 60;
	assert_int_equal(lease_table_renew(t, 1000), 0);
	assert_in_range(call[0].asked_ms, 800, 940);
	lease_table_close(t);

	t = begin();
	call[0].before_ms = 60;
	assert_int_equal(lease_table_renew(t, 50), -ETIMEDOUT);
	assert_int_equal(call[0].asked_ms, 0);
	lease_table_close(t);
}

/* Stopped after the look at the clock: the element has too much, and is replaced at once. */
static void test_stopped(void **state)
{
	struct lease_table *t = begin();

	call[0].after_ms = 60;
	assert_int_equal(lease_table_start(t, 1000), 0);
	assert_true(n_calls >= 2);
	assert_false(call[0].deleted);
	assert_true(call[1].deleted);
	assert_in_range(call[1].asked_ms, 800, 940);
	lease_table_close(t);
}

/* ... for longer than it had at all: it is ended. */
static void test_stopped_too_long(void **state)
{
	struct lease_table *t = begin();

	call[0].after_ms = 60;
	assert_int_equal(lease_table_start(t, 50), -ETIMEDOUT);
	assert_int_equal(n_calls, 2);
	assert_true(call[1].deleted);
	assert_int_equal(call[1].asked_ms, 0);
	lease_table_close(t);
}

static void test_lapsed(void **state)
{
	struct lease_table *t = begin();

	call[0].ret = -ENOENT;
	assert_int_equal(lease_table_renew(t, 1000), -ENOENT);
	assert_int_equal(n_calls, 1);
	lease_table_close(t);

	t = begin();
	call[0].ret = -EEXIST;
	assert_int_equal(lease_table_start(t, 1000), 0);
	assert_true(n_calls >= 2 && call[1].deleted);
	lease_table_close(t);

	t = begin();
	call[0].ret = -ENOENT;
	assert_int_equal(lease_table_end(t), 0);
	lease_table_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_stopped_too_long),
		cmocka_unit_test(test_lapsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
