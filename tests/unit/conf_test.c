// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clusterd.ini: golden complaints (tests/conf/NAME.ini with NAME.err; without one it must be
 * valid), the shipped samples, and the man page against the table.  Runs in the top directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <glob.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "conf/conf.h"

static struct conf conf, other;
static struct conf_errors errs;

static char *read_file(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	if (getdelim(&text, &size, '\0', f) < 0)
		text = strdup("");
	fclose(f);
	return text;
}

/* What 'print' writes, to be freed. */
static char *printed(void (*print)(const struct conf *c, FILE *out), const struct conf *c)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	print(c, f);
	fclose(f);
	return text;
}

static int parse(struct conf *c, const char *text)
{
	return conf_parse(c, text, strlen(text), "test", &errs);
}

#define MINIMAL "[cluster]\nname=web\nnodes=n1=10.0.0.1,n2=10.0.0.2\n" \
		"[service web]\nvip=10.0.0.9\nport=tcp/80\n"

static void must_parse(struct conf *c, const char *text)
{
	if (parse(c, text)) {
		conf_errors_print(&errs, "test", stderr);
		fail_msg("valid text was refused:\n%s", text);
	}
}

/* Valid, and reading what is printed gives the same again. */
static void check_valid(const char *path)
{
	char *first, *second;

	if (conf_read(&conf, path, &errs)) {
		conf_errors_print(&errs, path, stderr);
		fail_msg("%s must be valid", path);
	}
	first = printed(conf_print, &conf);
	must_parse(&other, first);
	second = printed(conf_print, &other);
	assert_string_equal(first, second);
	assert_int_equal(conf_diff(&conf, &other, NULL, NULL), 0);
	assert_true(conf_digest(&conf) == conf_digest(&other));
	free(first);
	free(second);
}

static void check_complaints(const char *path, const char *err_path)
{
	char *want = read_file(err_path), *got = NULL;
	size_t size;
	FILE *f = open_memstream(&got, &size);

	assert_int_equal(conf_read(&conf, path, &errs), -EINVAL);
	conf_errors_print(&errs, strrchr(path, '/') + 1, f);
	fclose(f);
	if (strcmp(got, want))
		fail_msg("%s: got\n%s\nwant\n%s", path, got, want);
	free(want);
	free(got);
}

static void test_golden(void **state)
{
	unsigned int valid = 0, wrong = 0;
	glob_t g;

	assert_int_equal(glob("tests/conf/*.ini", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *path = g.gl_pathv[i];
		char err_path[256];
		FILE *f;

		snprintf(err_path, sizeof(err_path), "%.*s.err", (int)strlen(path) - 4, path);
		f = fopen(err_path, "re");
		if (f) {
			fclose(f);
			check_complaints(path, err_path);
			wrong++;
		} else {
			check_valid(path);
			valid++;
		}
	}
	globfree(&g);
	assert_true(valid >= 4 && wrong >= 21);
}

static void test_samples(void **state)
{
	unsigned int dispatch = 0, redirect = 0, policies = 0, monitors = 0, checks = 0;
	glob_t g;

	assert_int_equal(glob("etc/examples/*.ini", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		check_valid(g.gl_pathv[i]);
		for (unsigned int k = 0; k < conf.n_services; k++) {
			dispatch |= 1u << conf.service[k].dispatch;
			redirect |= 1u << conf.service[k].redirect;
			policies += strcmp(conf.service[k].weights, "static") != 0;
		}
		monitors += conf.n_monitors;
		checks += conf.n_checks;
	}
	assert_true(g.gl_pathc >= 9);
	assert_true(policies >= 2 && monitors >= 2 && checks >= 3);
	assert_int_equal(dispatch, 7);		/* all three are shown */
	assert_int_equal(redirect, 7);
	globfree(&g);
	check_valid("etc/clusterd.ini");
}

/* Each ";key = value" of the sample is the default: taking the ';' away changes nothing. */
static void test_sample_shows_defaults(void **state)
{
	char *text = read_file("etc/clusterd.ini"), *p;
	unsigned int n = 0;

	must_parse(&conf, text);
	for (p = text; (p = strstr(p, "\n;")) != NULL; p++) {
		if (p[2] == ' ' || p[2] == '\n')
			continue;
		if (!strncmp(p + 2, "interface", 9))	/* its default has no text */
			continue;
		p[1] = ' ';
		n++;
	}
	assert_int_equal(n, 32);
	must_parse(&other, text);
	assert_int_equal(conf_diff(&conf, &other, NULL, NULL), 0);
	free(text);
}

static void test_values(void **state)
{
	must_parse(&conf, "[cluster]\nname=web\nnodes=n1=10.0.0.1,n2=10.0.0.2\nbuckets=64\n"
		   "quorum=ignore\nfailback=manual\nfailback_delay=7s\ndrain_timeout=2m\n"
		   "token=300ms\nlease=40ms\nhang=50ms\ngrace=3s\ntiebreak=10.0.0.254\nport=99\n"
		   "key_file=/k\naccelerate=off\nvxlan_port=8472\n[node n2]\nweight=7\n"
		   "[service a]\nvip=10.0.0.9,fd00::9\nport=tcp/80,udp/5-6\nhash=source\n"
		   "interface=eth7\nmac=igmp\nredirect=vxlan\nscheduler=least-conn\n"
		   "[service b]\nvip=10.0.0.8\nport=tcp/80\ndispatch=route\nscheduler=probability\n"
		   "[service c]\nvip=10.0.0.7\nport=tcp/80\ndispatch=announce\nredirect=ipip\n");
	assert_string_equal(conf.name, "web");
	assert_int_equal(conf.n_nodes, 2);
	assert_string_equal(conf.node[1].name, "n2");
	assert_int_equal(conf.node[1].addr.b[3], 2);
	assert_int_equal(conf.node[0].weight, 100);
	assert_int_equal(conf.node[1].weight, 7);
	assert_int_equal(conf.buckets, 64);
	assert_int_equal(conf.quorum, QUORUM_IGNORE);
	assert_int_equal(conf.failback, FAILBACK_MANUAL);
	assert_int_equal(conf.failback_delay_ms, 7000);
	assert_int_equal(conf.drain_timeout_ms, 120000);
	assert_int_equal(conf.token_ms, 300);
	assert_int_equal(conf.lease_ms, 40);
	assert_int_equal(conf.hang_ms, 50);
	assert_int_equal(conf.grace_ms, 3000);
	assert_int_equal(conf.tiebreak, TIEBREAK_WITNESS);
	assert_int_equal(conf.witness.b[3], 254);
	assert_int_equal(conf.port, 99);
	assert_string_equal(conf.key_file, "/k");
	assert_int_equal(conf.accelerate, ACCELERATE_OFF);
	assert_int_equal(conf.vxlan_port, 8472);
	assert_int_equal(conf.n_services, 3);
	assert_int_equal(conf.service[0].mac, MAC_IGMP);
	assert_int_equal(conf.service[0].dispatch, DISPATCH_FLOOD);
	assert_int_equal(conf.service[0].redirect, REDIRECT_VXLAN);
	assert_int_equal(conf.service[0].sched, SCHED_LEAST_CONN);
	assert_int_equal(conf.service[1].mac, MAC_MULTICAST);
	assert_int_equal(conf.service[1].dispatch, DISPATCH_ROUTE);
	assert_int_equal(conf.service[1].redirect, REDIRECT_DIRECT);
	assert_int_equal(conf.service[1].sched, SCHED_PROBABILITY);
	assert_int_equal(conf.service[2].dispatch, DISPATCH_ANNOUNCE);
	assert_int_equal(conf.service[2].redirect, REDIRECT_IPIP);
	assert_int_equal(conf.service[2].sched, SCHED_HASH);
	assert_int_equal(conf.service[0].n_vips, 2);
	assert_int_equal(conf.service[0].vip[1].family, AF_INET6);
	assert_int_equal(conf.service[0].n_ports, 2);
	assert_int_equal(conf.service[0].port[0].proto, IPPROTO_TCP);
	assert_int_equal(conf.service[0].port[0].hi, 80);
	assert_int_equal(conf.service[0].port[1].proto, IPPROTO_UDP);
	assert_int_equal(conf.service[0].port[1].lo, 5);
	assert_int_equal(conf.service[0].port[1].hi, 6);
	assert_int_equal(conf.service[0].hash, HASH_SOURCE);
	assert_string_equal(conf.service[0].interface, "eth7");
	assert_int_equal(conf_node_by_name(&conf, "n2"), 2);
	assert_int_equal(conf_node_by_name(&conf, "N2"), NOBODY);
	assert_int_equal(conf_service_by_name(&conf, "a"), 0);
	assert_int_equal(conf_service_by_name(&conf, "z"), -1);
}

static void test_monitors_and_checks(void **state)
{
	must_parse(&conf, MINIMAL "weights=memory-1\nweights_interval=20s\nrebalance_step=7\n"
		   "process_memory=9\nconnections_per_minute=11\npeer_check=on\n"
		   "sorry=redirect https://x.example/\n"
		   "[check b]\ntype=http\nservice=web\ninterval=200ms\nrise=4\nfall=5\n"
		   "on_fail=now\naction=exec:/bin/x\naction_tries=6\naction_backoff=7s\n"
		   "Path=/y\nexpect='a;b'\n"
		   "[monitor psi]\n[check a]\nservice=web\ntype=tcp\naction=restart:a@b.service\n"
		   "timeout=1s\non_fail=drain\n"
		   "[monitor m]\ntype=net\ninterval=2s\nweight=50\nif=eth0\n[node n2]\ncapacity=50\n");
	assert_string_equal(conf.service[0].weights, "memory-1");
	assert_int_equal(conf.service[0].weights_interval_ms, 20000);
	assert_int_equal(conf.service[0].rebalance_step, 7);
	assert_int_equal(conf.service[0].process_memory_kb, 9);
	assert_int_equal(conf.service[0].connections_per_minute, 11);
	assert_int_equal(conf.service[0].peer_check, SWITCH_ON);
	assert_int_equal(conf.service[0].sorry, SORRY_REDIRECT);
	assert_string_equal(conf.service[0].sorry_url, "https://x.example/");
	assert_int_equal(conf.node[0].capacity, 100);
	assert_int_equal(conf.node[1].capacity, 50);

	assert_int_equal(conf.n_checks, 2);	/* in the order of the file */
	assert_string_equal(conf.check[0].name, "b");
	assert_string_equal(conf.check[0].service, "web");
	assert_string_equal(conf.check[0].type, "http");
	assert_int_equal(conf.check[0].interval_ms, 200);
	assert_int_equal(conf.check[0].timeout_ms, 100);
	assert_int_equal(conf.check[0].rise, 4);
	assert_int_equal(conf.check[0].fall, 5);
	assert_int_equal(conf.check[0].on_fail, ON_FAIL_NOW);
	assert_int_equal(conf.check[0].action, ACTION_EXEC);
	assert_string_equal(conf.check[0].action_arg, "/bin/x");
	assert_int_equal(conf.check[0].action_tries, 6);
	assert_int_equal(conf.check[0].action_backoff_ms, 7000);
	assert_int_equal(conf.check[0].n_options, 2);
	assert_string_equal(conf.check[0].option[0].key, "path");
	assert_string_equal(conf.check[0].option[0].value, "/y");
	assert_int_equal(conf.check[0].option[0].line, 24);
	assert_string_equal(conf.check[0].option[1].key, "expect");
	assert_string_equal(conf.check[0].option[1].value, "a;b");
	assert_int_equal(conf.check[1].action, ACTION_RESTART);
	assert_string_equal(conf.check[1].action_arg, "a@b.service");
	assert_int_equal(conf.check[1].on_fail, ON_FAIL_DRAIN);
	assert_int_equal(conf.check[1].timeout_ms, 1000);
	assert_int_equal(conf.check[1].n_options, 0);

	assert_int_equal(conf.n_monitors, 2);
	assert_string_equal(conf.monitor[0].name, "psi");
	assert_string_equal(conf.monitor[0].type, "psi");
	assert_int_equal(conf.monitor[0].interval_ms, 1000);
	assert_int_equal(conf.monitor[0].weight, 100);
	assert_string_equal(conf.monitor[1].type, "net");
	assert_int_equal(conf.monitor[1].weight, 50);
	assert_int_equal(conf.monitor[1].interval_ms, 2000);
	assert_string_equal(conf.monitor[1].option[0].value, "eth0");

	must_parse(&conf, "[service web]\nvip=10.0.0.9\nport=tcp/80\nsorry=drop\n[cluster]\n"
		   "name=web\nnodes=n1=10.0.0.1\nfailback=never-while-busy\nbusy=33\n"
		   "slow_start=90s\nnotify=exec:/n\nsorry_port=81\n");
	assert_int_equal(conf.failback, FAILBACK_NEVER_WHILE_BUSY);
	assert_string_equal(conf_failback_str(conf.failback), "never-while-busy");
	assert_int_equal(conf.busy, 33);
	assert_int_equal(conf.slow_start_ms, 90000);
	assert_string_equal(conf.notify, "/n");
	assert_int_equal(conf.sorry_port, 81);
	assert_int_equal(conf.service[0].sorry, SORRY_DROP);
	assert_string_equal(conf_sorry_str(conf.service[0].sorry), "drop");
	assert_string_equal(conf.service[0].weights, "static");
	assert_int_equal(conf.n_checks, 0);
}

/* Complaints of plugins look like ours. */
static void test_errors_add(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	errs.n = 0;
	conf_errors_add(&errs, 7, "check web", "path", "%s is no path\033", "x");
	conf_errors_add(&errs, 0, "check web", NULL, "is %d too many", 1);
	conf_errors_print(&errs, "f", f);
	fclose(f);
	assert_string_equal(text, "f:7: [check web] path: x is no path?\n"
			    "f: [check web]: is 1 too many\n");
	free(text);
	for (unsigned int i = 0; i < 2 * CONF_ERRORS_MAX; i++)
		conf_errors_add(&errs, i, "x", "y", "z");
	assert_int_equal(errs.n, 2 + 2 * CONF_ERRORS_MAX);
}

static void test_layout(void **state)
{
	struct layout l;

	must_parse(&conf, MINIMAL "hash=source\n[service b]\nvip=10.0.0.8\nport=tcp/80\n");
	memset(&l, 0xff, sizeof(l));
	conf_layout(&conf, &l);
	assert_int_equal(l.buckets, 4096);
	assert_int_equal(l.hash[0], HASH_SOURCE);
	assert_int_equal(l.hash[1], HASH_SOURCE_PORT);
	assert_int_equal(l.hash[2], 0);		/* so that two can be compared byte by byte */
}

/* The longest node list that a line can hold survives being printed. */
static void test_64_nodes(void **state)
{
	char text[2048];
	int len = sprintf(text, "[service s]\nvip=10.9.0.1\nport=tcp/1\n[cluster]\nname=x\nnodes=");
	char *again;

	for (int i = 1; i <= NODES_MAX; i++)
		len += sprintf(text + len, "%sn%d=10.2.30.%d", i > 1 ? "," : "", i, i);
	must_parse(&conf, text);
	assert_int_equal(conf.n_nodes, NODES_MAX);
	again = printed(conf_print, &conf);
	must_parse(&other, again);
	assert_int_equal(conf_diff(&conf, &other, NULL, NULL), 0);
	free(again);
}

static void test_unreadable(void **state)
{
	assert_int_equal(conf_read(&conf, "tests/conf/no such file", &errs), -ENOENT);
	assert_int_equal(errs.n, 1);
	assert_non_null(strstr(errs.e[0].reason, "No such file"));
	assert_int_equal(conf_read(&conf, "tests/conf", &errs), -EISDIR);
	assert_int_equal(errs.n, 1);
	assert_int_equal(conf_read(&conf, "/dev/zero", &errs), -EFBIG);
	assert_int_equal(errs.n, 1);
}

/* Bytes by chance: never more than an error.  Runs under the sanitizers too. */
static void test_garbage(void **state)
{
	static const char bytes[] = "[]=;#\"'\n\n\\ ,/-.%:\tab1\0\xff";
	char *text = read_file("tests/conf/good-forms.ini");
	size_t size = strlen(text);
	uint32_t x = 1;

	for (int round = 0; round < 3000; round++) {
		char *copy = malloc(size);	/* no NUL behind it: sanitizers see an overrun */

		memcpy(copy, text, size);
		for (int i = 0; i < 1 + round % 8; i++) {
			x = x * 1103515245 + 12345;
			copy[(x >> 8) % size] = bytes[(x >> 4) % (sizeof(bytes) - 1)];
		}
		if (conf_parse(&conf, copy, size - (size_t)round % 50, "x", &errs))
			assert_true(errs.n > 0);
		else
			assert_int_equal(errs.n, 0);
		free(copy);
	}
	free(text);
}

struct seen { char text[1024]; unsigned int live, restart; };

static void see(void *arg, const char *section, const char *key, const char *old_text,
		const char *new_text, bool live)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);

	snprintf(s->text + len, sizeof(s->text) - len, "[%s] %s: %s -> %s %s\n", section, key,
		 old_text, new_text, live ? "live" : "restart");
	if (live)
		s->live++;
	else
		s->restart++;
}

static void test_diff(void **state)
{
	struct seen s = { "", 0, 0 };

	must_parse(&conf, MINIMAL "[service old]\nvip=10.0.0.8\nport=tcp/80\n");
	must_parse(&other, "[cluster]\nname=web\nnodes=n1=10.0.0.1,n2=10.0.0.2\nlease=200ms\n"
		   "failback=manual\nfailback_delay=6s\ndrain_timeout=1s\nhang=2s\ngrace=0s\n"
		   "buckets=8192\nvxlan_port=8472\n"
		   "[service web]\nvip=10.0.0.9\nport=tcp/80\ninterface=eth1\nhash=source\n"
		   "dispatch=route\n"
		   "[service new]\nvip=10.0.0.7\nport=tcp/80\n[node n2]\nweight=1\n");
	assert_int_equal(conf_diff(&conf, &other, see, &s), 14);
	assert_string_equal(s.text,
			    "[cluster] buckets: 4096 -> 8192 live\n"
			    "[cluster] failback: auto -> manual live\n"
			    "[cluster] failback_delay: 5s -> 6s live\n"
			    "[cluster] drain_timeout: 60s -> 1s live\n"
			    "[cluster] lease: 150ms -> 200ms restart\n"
			    "[cluster] hang: 1s -> 2s live\n"
			    "[cluster] grace: 2s -> 0s live\n"
			    "[cluster] vxlan_port: 4789 -> 8472 restart\n"
			    "[service web] dispatch: flood -> route restart\n"
			    "[service web] hash: source-port -> source live\n"
			    "[service web] interface: - -> eth1 restart\n"
			    "[service old] : present -> - restart\n"
			    "[service new] : - -> present restart\n"
			    "[node n2] weight: 100 -> 1 live\n");
	assert_int_equal(s.live, 8);
}

static void test_diff_of_order(void **state)
{
	struct seen s = { "", 0, 0 };

	must_parse(&conf, MINIMAL "[service b]\nvip=10.0.0.8\nport=tcp/80\n");
	must_parse(&other, "[service b]\nvip=10.0.0.8\nport=tcp/80\n" MINIMAL
		   "[node n1]\nweight=5\n");
	assert_int_equal(conf_diff(&conf, &other, see, &s), 2);
	assert_int_equal(s.restart, 1);
}

static void test_diff_of_checks(void **state)
{
	struct seen s = { "", 0, 0 };

	must_parse(&conf, MINIMAL "[monitor cpu]\n[monitor old]\ntype=exec\na=1\n"
		   "[check x]\nservice=web\ntype=tcp\nport=1\nsame=2\ngone=3\n"
		   "[check y]\nservice=web\ntype=tcp\n");
	must_parse(&other, MINIMAL "[monitor new]\ntype=exec\n[monitor cpu]\nweight=5\nk=v\n"
		   "[check z]\nservice=web\ntype=tcp\n"
		   "[check x]\nservice=web\ntype=http\naction=exec:/r\nnew=4\nsame=2\nport=9\n"
		   "[node n1]\ncapacity=50\n");
	assert_int_equal(conf_diff(&conf, &other, see, &s), 12);
	assert_string_equal(s.text,
			    "[node n1] capacity: 100 -> 50 restart\n"
			    "[monitor cpu] weight: 100 -> 5 live\n"
			    "[monitor cpu] k: - -> v live\n"
			    "[monitor old] : present -> - live\n"
			    "[monitor new] : - -> present live\n"
			    "[check x] type: tcp -> http live\n"
			    "[check x] action: - -> exec:/r live\n"
			    "[check x] port: 1 -> 9 live\n"
			    "[check x] gone: 3 -> - live\n"
			    "[check x] new: - -> 4 live\n"
			    "[check y] : present -> - live\n"
			    "[check z] : - -> present live\n");
}

static uint64_t digest_of(const char *cluster, const char *service, const char *rest)
{
	char text[1024];

	snprintf(text, sizeof(text), "[cluster]\nname=web\n%s\n[service web]\n%s\n%s\n", cluster,
		 service, rest);
	must_parse(&conf, text);
	return conf_digest(&conf);
}

#define NODES "nodes=n1=10.0.0.1,n2=10.0.0.2\n"
#define SERVICE "vip=10.0.0.9\nport=tcp/80\n"

static void test_digest(void **state)
{
	static const char *const same[] = {
		"failback=manual", "failback_delay=1s", "drain_timeout=1s", "hang=3s", "grace=1s",
		"token=2s", "key_file=/x", "accelerate=off", "[node n1]\nweight=3", "buckets=64",
		"failback=never-while-busy", "busy=1", "slow_start=1s", "notify=exec:/x",
		"[node n1]\ncapacity=3", "[monitor cpu]", "[check x]\nservice=web\ntype=tcp\na=b",
	};
	static const char *const differ[] = {
		"quorum=ignore", "lease=200ms", "tiebreak=lowest",
		"tiebreak=10.0.0.254", "tiebreak=10.0.0.253", "port=6000",
		"vxlan_port=8472", "sorry_port=81",
		"[service b]\nvip=10.0.0.8\nport=tcp/80",
	};
	static const char *const services[] = {
		"vip=10.0.0.8\nport=tcp/80", "vip=10.0.0.9\nport=tcp/81",
		"vip=10.0.0.9\nport=udp/80", "vip=10.0.0.9\nport=tcp/80-81",
		SERVICE "dispatch=route", SERVICE "dispatch=announce", SERVICE "redirect=ipip",
		SERVICE "redirect=vxlan", SERVICE "mac=igmp", SERVICE "mac=unicast",
		SERVICE "scheduler=probability", SERVICE "scheduler=least-conn",
		SERVICE "weights=load", SERVICE "weights=wlc", SERVICE "weights_interval=1s",
		SERVICE "rebalance_step=1", SERVICE "process_memory=1", SERVICE "peer_check=on",
		SERVICE "connections_per_minute=1", SERVICE "sorry=drop",
		SERVICE "sorry=redirect http://a", SERVICE "sorry=redirect http://b",
	};
	uint64_t seen[64], base = digest_of(NODES, SERVICE, "");
	unsigned int n = 0;
	char cluster[256];

	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
		snprintf(cluster, sizeof(cluster), "%s%s", NODES, same[i]);
		assert_true(digest_of(cluster, SERVICE, "") == base);
	}
	assert_true(digest_of(NODES, SERVICE "interface=eth9", "") == base);
	assert_true(digest_of(NODES, SERVICE "hash=source", "") == base);

	seen[n++] = base;
	for (size_t i = 0; i < sizeof(differ) / sizeof(*differ); i++) {
		snprintf(cluster, sizeof(cluster), "%s%s", NODES, differ[i]);
		seen[n++] = digest_of(cluster, SERVICE, "");
	}
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
		seen[n++] = digest_of(NODES, services[i], "");
	seen[n++] = digest_of("nodes=n2=10.0.0.2,n1=10.0.0.1", SERVICE, "");
	seen[n++] = digest_of("nodes=n1=10.0.0.1,n3=10.0.0.2", SERVICE, "");
	seen[n++] = digest_of("nodes=n1=10.0.0.1,n2=10.0.0.3", SERVICE, "");
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
}

static void test_corosync(void **state)
{
	char *text;

	must_parse(&conf, MINIMAL);
	text = printed(conf_corosync, &conf);
	assert_non_null(strstr(text, "\tcluster_name: web\n"));
	assert_non_null(strstr(text, "\ttoken: 1000\n\ttoken_coefficient: 0\n\tconsensus: 1200\n"));
	assert_non_null(strstr(text, "\ttoken_retransmits_before_loss_const: 4\n"));
	assert_non_null(strstr(text, "\t\tnodeid: 2\n\t\tname: n2\n\t\tring0_addr: 10.0.0.2\n"));
	assert_non_null(strstr(text, "\ttwo_node: 1\n\twait_for_all: 0\n"));
	free(text);
	must_parse(&conf, "[cluster]\nname=x\ntoken=99ms\nnodes=a=fd00::1,b=fd00::2,c=fd00::3\n"
		   "[service s]\nvip=10.0.0.9\nport=tcp/80\n");
	text = printed(conf_corosync, &conf);
	assert_null(strstr(text, "two_node"));
	assert_non_null(strstr(text, "\tconsensus: 119\n"));	/* rounded up: 118.8 */
	assert_non_null(strstr(text, "\ttoken_retransmits_before_loss_const: 3\n"));
	assert_non_null(strstr(text, "ring0_addr: fd00::3\n"));
	free(text);
}

/* 240/4 is nobody's.  127.0.0.1 cannot be read as a node's address, so it is put in by hand. */
static void test_local_node(void **state)
{
	char interface[IFNAME_SIZE] = "";
	const char *why = NULL;

	must_parse(&conf, "[cluster]\nname=x\nnodes=a=240.0.0.1,b=240.0.0.2\n"
		   "[service s]\nvip=10.0.0.9\nport=tcp/80\n");
	assert_int_equal(conf_local_node(&conf, interface, &why), NOBODY);
	assert_non_null(why);
	assert_int_equal(addr_parse(&conf.node[1].addr, "127.0.0.1"), 0);
	assert_int_equal(conf_local_node(&conf, interface, &why), 2);
	assert_string_equal(interface, "lo");
	assert_int_equal(conf_local_node(&conf, NULL, &why), 2);
}

/* The page's text from '.Ss' of that section to the next one, or NULL; cuts 'page' up. */
static char *man_section(char *page, const char *kind)
{
	char head[64], *start, *end, *chapter;

	snprintf(head, sizeof(head), "\n.Ss [%s", kind);
	start = strstr(page, head);
	if (!start)
		return NULL;
	start += strlen(head);
	end = strstr(start, "\n.Ss ");
	chapter = strstr(start, "\n.Sh ");
	if (!end || (chapter && chapter < end))
		end = chapter;
	return strndup(start, (size_t)(end - start));
}

/*
 * Every key of the table has its ".It Cm key" in the right section of clusterd.ini(5), with a line
 * such as "Default: 5s; live.".  And the page has no key that the table has not.
 */
static void test_man_page(void **state)
{
	static const char *const kinds[] = { "cluster", "service", "node", "monitor", "check" };
	char *page = read_file("doc/man/clusterd.ini.5"), *keys = NULL, *line, *save = NULL;
	unsigned int n_table = 0, n_page = 0;
	size_t size;
	FILE *f = open_memstream(&keys, &size);

	conf_keys(f);
	fclose(f);
	for (line = strtok_r(keys, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char kind[32], key[32], def[64], live[32], want[160], *section, *item, *next;

		assert_int_equal(sscanf(line, "%31[^\t]\t%31[^\t]\t%*[^\t]\t%63[^\t]\t%31[^\t]",
					kind, key, def, live), 4);
		section = man_section(page, kind);
		assert_non_null(section);
		snprintf(want, sizeof(want), "\n.It Cm %s ", key);
		item = strstr(section, want);
		if (!item)
			fail_msg("clusterd.ini(5) lacks '%s' in [%s]", key, kind);
		next = strstr(item + 1, "\n.It Cm ");	/* its words, if listed, are ".It Li" */
		if (next)
			next[1] = '\0';
		if (!strcmp(def, "(required)"))
			snprintf(want, sizeof(want), "\nRequired; %s.\n", live);
		else if (!strcmp(def, "-"))
			snprintf(want, sizeof(want), "; %s.\n", live);
		else
			snprintf(want, sizeof(want), "\nDefault: %s; %s.\n", def, live);
		if (!strstr(item, want))
			fail_msg("clusterd.ini(5), [%s] %s, lacks the line '%s'", kind, key,
				 want + (*want == '\n'));
		free(section);
		n_table++;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		char *section = man_section(page, kinds[i]);

		for (line = section; (line = strstr(line, "\n.It Cm ")) != NULL; line++)
			n_page++;
		free(section);
	}
	assert_int_equal(n_page, n_table);
	free(keys);
	free(page);
}

/* The example in the page is a valid file. */
static void test_man_example(void **state)
{
	char *page = read_file("doc/man/clusterd.ini.5"), *end;
	char *start = strstr(strstr(page, "\n.Sh EXAMPLES"), "\n.Bd -literal");

	assert_non_null(start);
	start = strchr(start + 1, '\n') + 1;
	end = strstr(start, "\n.Ed");
	assert_non_null(end);
	end[1] = '\0';
	must_parse(&conf, start);
	assert_true(conf.n_services >= 1);
	free(page);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_sample_shows_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_monitors_and_checks),
		cmocka_unit_test(test_errors_add),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_64_nodes),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_diff_of_order),
		cmocka_unit_test(test_diff_of_checks),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_corosync),
		cmocka_unit_test(test_local_node),
		cmocka_unit_test(test_man_page),
		cmocka_unit_test(test_man_example),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
