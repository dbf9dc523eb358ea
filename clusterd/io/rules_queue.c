/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Has this kernel's nftables the statement "queue"?  Asked by using it. */
#include <errno.h>
#include <string.h>
#include <linux/netfilter.h>

#include "io/rules_mk.h"
#include "io/rules_nl.h"

#ifndef ERESTART
#define ERESTART 85
#endif

#define TABLE "clusterd_try"
#define TRIES 20

/* A table with one rule in a chain of no hook, gone again in the same transaction. */
static int try(struct rules_nl *nl, struct rules_batch *b, struct rules_plan *p)
{
	struct rules_mk mk = { .p = p };
	struct rules_diff d = { 0 };
	struct rules_result res;
	const struct rules_obj *o;
	unsigned int i;
	int ret;

	mk_table(&mk, RULES_IP, TABLE, 0);
	mk_chain(&mk, "try");
	mk_rule(&mk);
	mk_queue(&mk, 0, 1, false);
	if (p->failed)
		return -ENOMEM;
	ret = rules_plan_diff(&d, NULL, p);
	if (ret)
		return ret;
	rules_batch_begin(b);
	for (i = 0; i < d.n; i++)
		rules_batch_op(b, &d.op[i]);
	rules_batch_del_table(b, RULES_IP, TABLE);
	rules_batch_end(b);
	ret = rules_nl_commit(nl, b, TRIES, NULL, NULL, &res);
	o = b->what[res.message].obj;
	if (ret == -ENOENT && o && o->kind == OBJ_RULE)
		ret = 1;
	rules_diff_free(&d);
	return ret;
}

int rules_queue_native(void)
{
	struct rules_batch b = { 0 };
	struct rules_plan p = { 0 };
	struct rules_nl *nl;
	int ret = rules_nl_open(&nl);

	if (ret)
		return ret;
	ret = try(nl, &b, &p);
	rules_batch_free(&b);
	rules_plan_free(&p);
	rules_nl_close(nl);
	return ret < 0 ? ret == -ERESTART ? -EAGAIN : ret : !ret;
}
