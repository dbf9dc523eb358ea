// SPDX-License-Identifier: GPL-2.0-or-later
/* A corosync.conf(5) that fits: the same on every node, because clusterd.ini is. */
#include "conf/conf.h"

/*
 * corosync resends the token every token / (n + 0.2), n = 4 by default, and refuses less than 30 ms
 * for that (exec/totemconfig.c): a short token needs a smaller n.
 */
static unsigned int retransmits(uint32_t token_ms)
{
	unsigned int n = (token_ms * 10 / 30 - 2) / 10;

	return n > 4 ? 4 : n ? n : 1;
}

void conf_corosync(const struct conf *c, FILE *out)
{
	char a[ADDR_STR];

	fprintf(out,
		"# Made by 'clusterctl corosync-conf' from [cluster] of clusterd.ini: change it "
		"there.\n"
		"totem {\n"
		"\tversion: 2\n"
		"\tcluster_name: %s\n"
		"\ttransport: knet\n"
		"\tcrypto_cipher: aes256\n"
		"\tcrypto_hash: sha256\n"
		"\tkeyfile: %s\n"
		"\ttoken: %u\n"
		"\ttoken_coefficient: 0\n"
		"\tconsensus: %u\n"
		"\ttoken_retransmits_before_loss_const: %u\n"
		"}\n\n", c->name, c->key_file, c->token_ms, (c->token_ms * 12 + 9) / 10,
		retransmits(c->token_ms));
	fprintf(out, "nodelist {\n");
	for (unsigned int i = 0; i < c->n_nodes; i++)
		fprintf(out,
			"\tnode {\n"
			"\t\tnodeid: %u\n"
			"\t\tname: %s\n"
			"\t\tring0_addr: %s\n"
			"\t}\n", i + 1, c->node[i].name, addr_str(&c->node[i].addr, a));
	fprintf(out,
		"}\n\n"
		"quorum {\n"
		"\tprovider: corosync_votequorum\n");
	/* clusterd breaks ties itself (tiebreak), and must start alone when it can. */
	if (c->n_nodes == 2)
		fprintf(out,
			"\ttwo_node: 1\n"
			"\twait_for_all: 0\n");
	fprintf(out,
		"}\n\n"
		"logging {\n"
		"\tto_syslog: yes\n"
		"\tto_stderr: no\n"
		"}\n");
}
