/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clusterctl doctor makes of facts: each fact that gets in the way gives its finding, and no other. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/doctor.h"

static struct conf conf;
static struct doctor_facts facts;
static struct doctor doctor;

/* Three nodes, one service on eth0, a machine with which all is well. */
static int setup(void **state)
{
	memset(&conf, 0, sizeof(conf));
	conf.n_nodes = 3;
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(conf.node[i].name, NAME_SIZE, "n%u", i + 1);
		addr_parse(&conf.node[i].addr, "10.0.0.1");
		conf.node[i].addr.b[3] = (uint8_t)(i + 1);
	}
	conf.n_services = 1;
	strcpy(conf.service[0].name, "web");
	conf.service[0].n_vips = 2;
	addr_parse(&conf.service[0].vip[0], "10.0.0.250");
	addr_parse(&conf.service[0].vip[1], "fd00::250");
	strcpy(conf.key_file, "/k");
	conf.token_ms = 1000;
	conf.port = 5407;

	memset(&facts, 0, sizeof(facts));
	facts.root = true;
	memset(facts.feature, THERE, sizeof(facts.feature));
	facts.ct_max = 262144;
	facts.ct_count = 10;
	facts.corosync = facts.clock_synced = facts.daemon = 1;
	facts.token_ms = 1000;
	facts.self = 1;
	facts.n_ifs = 1;
	facts.own_mtu = 1500;
	strcpy(facts.iface[0].name, "eth0");
	strcpy(facts.iface[0].driver, "e1000e");
	facts.iface[0].exists = facts.iface[0].up = true;
	facts.iface[0].mtu = 1500;
	facts.iface[0].snooping = UNKNOWN;
	return 0;
}

static int teardown(void **state)
{
	doctor_free(&doctor);
	return 0;
}

static void judge(void)
{
	doctor_free(&doctor);
	doctor_judge(&doctor, &conf, &facts);
	for (unsigned int i = 0; i < doctor.n; i++) {
		const struct doctor_finding *f = &doctor.finding[i];

		/* Bad news always says why it matters and what to do. */
		if ((f->level == DOCTOR_GOOD) != (!f->why[0] && !f->change[0]))
			fail_msg("half a finding: %s", f->what);
		assert_true(f->what[0] && f->topic[0] && strlen(f->what) < sizeof(f->what) - 1);
		assert_true(strlen(f->why) < sizeof(f->why) - 1 && strlen(f->change) < sizeof(f->change) - 1);
	}
}

static void dump(void)
{
	for (unsigned int i = 0; i < doctor.n; i++)
		fprintf(stderr, "  %s %s: %s\n", doctor_level_str(doctor.finding[i].level),
			doctor.finding[i].topic, doctor.finding[i].what);
}

/* Exactly one finding besides the good ones: of that level, with these words. */
static void only(enum doctor_level level, const char *what, const char *change)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < doctor.n; i++) {
		const struct doctor_finding *f = &doctor.finding[i];

		if (f->level == DOCTOR_GOOD)
			continue;
		n++;
		if (f->level == level && strstr(f->what, what) && strstr(f->change, change))
			continue;
		dump();
		fail_msg("%s / %s, not %s / %s", f->what, f->change, what, change);
	}
	if (n != 1)
		dump();
	assert_int_equal(n, 1);
}

static void nothing_bad(void)
{
	if (doctor_count(&doctor, DOCTOR_GOOD) != doctor.n)
		dump();
	assert_int_equal(doctor_count(&doctor, DOCTOR_GOOD), doctor.n);
	assert_true(doctor.n > 0);
}

static void all_is_well(void **state)
{
	judge();
	nothing_bad();
	for (enum conf_dispatch d = DISPATCH_FLOOD; d <= DISPATCH_ROUTE; d++) {
		conf.service[0].dispatch = d;
		judge();
		nothing_bad();
	}
}

static void features_by_need(void **state)
{
	struct conf_service *s = &conf.service[0];

	assert_int_equal(doctor_needs(&conf), 1u << FEATURE_FWD | 1u << FEATURE_TCX);
	conf.accelerate = ACCELERATE_OFF;
	s->dispatch = DISPATCH_ANNOUNCE;
	s->redirect = REDIRECT_IPIP;
	assert_int_equal(doctor_needs(&conf), 1u << FEATURE_FWD | 1u << FEATURE_DUP4 |
			 1u << FEATURE_DUP6 | 1u << FEATURE_IPIP | 1u << FEATURE_SIT);
	for (unsigned int i = 0; i < 3; i++)
		conf.node[i].addr.family = AF_INET6;
	s->n_vips = 1;
	assert_int_equal(doctor_needs(&conf), 1u << FEATURE_FWD | 1u << FEATURE_DUP4 |
			 1u << FEATURE_IP6TNL);
	s->redirect = REDIRECT_VXLAN;
	s->sched = SCHED_PROBABILITY;
	assert_int_equal(doctor_needs(&conf), 1u << FEATURE_FWD | 1u << FEATURE_DUP4 |
			 1u << FEATURE_VXLAN | 1u << FEATURE_NUMGEN | 1u << FEATURE_QUEUE |
			 1u << FEATURE_XTQUEUE);
}

static void what_the_kernel_lacks(void **state)
{
	/* Not needed: not missed. */
	facts.feature[FEATURE_IPIP] = facts.feature[FEATURE_QUEUE] = facts.feature[FEATURE_XTQUEUE] = MISSING;
	judge();
	nothing_bad();
	conf.service[0].redirect = REDIRECT_IPIP;
	judge();
	only(DOCTOR_PROBLEM, "no ipip tunnels", "modprobe ipip");
	conf.service[0].redirect = REDIRECT_DIRECT;
	conf.service[0].sched = SCHED_LEAST_CONN;
	judge();
	only(DOCTOR_PROBLEM, "no nft queue", "nft_queue");
	facts.feature[FEATURE_XTQUEUE] = THERE;		/* one of the two will do */
	judge();
	nothing_bad();
	conf.service[0].sched = SCHED_HASH;
	facts.feature[FEATURE_TCX] = MISSING;
	judge();
	only(DOCTOR_HINT, "no BPF at tcx", "6.6");
	facts.feature[FEATURE_TCX] = THERE;
	facts.rules_err = -2;
	strcpy(facts.rules_why, "set svc4: no such thing");
	judge();
	only(DOCTOR_PROBLEM, "set svc4", "module");
	facts.root = false;
	judge();
	only(DOCTOR_HINT, "were not tried", "as root");
	facts.root = true;
	facts.rules_err = 0;
	strcpy(facts.lockdown, "integrity");
	judge();
	nothing_bad();
	strcpy(facts.lockdown, "confidentiality");
	judge();
	only(DOCTOR_HINT, "lockdown", "accelerate = off");
}

static void settings(void **state)
{
	facts.tcp_loose = 1;
	judge();
	only(DOCTOR_PROBLEM, "tcp_loose", "restart");
	facts.daemon = 0;			/* then it is none of our business */
	judge();
	nothing_bad();
	facts.be_liberal = 1;
	judge();
	only(DOCTOR_HINT, "be_liberal", "sysctl");
	facts.be_liberal = 0;
	facts.ct_count = 230000;
	judge();
	only(DOCTOR_PROBLEM, "230000 of at most 262144", "nf_conntrack_max");
	facts.ct_max = facts.ct_count = UNKNOWN;	/* no conntrack yet */
	facts.tcp_loose = facts.be_liberal = UNKNOWN;
	judge();
	nothing_bad();
}

static void arp_and_filters(void **state)
{
	facts.arp_ignore_all = 1;
	judge();
	only(DOCTOR_PROBLEM, "arp_ignore of eth0 is 1", "conf.eth0.arp_ignore=0");
	conf.service[0].dispatch = DISPATCH_ANNOUNCE;
	judge();
	only(DOCTOR_PROBLEM, "arp_ignore of eth0 is 1", "arp_ignore=0");
	conf.service[0].dispatch = DISPATCH_ROUTE;	/* nobody answers anyway */
	judge();
	nothing_bad();
	facts.arp_ignore_all = 0;
	facts.iface[0].arp_ignore = 2;
	conf.service[0].dispatch = DISPATCH_FLOOD;
	judge();
	only(DOCTOR_PROBLEM, "arp_ignore of eth0 is 2", "arp_ignore=0");
	facts.iface[0].arp_ignore = 0;
	facts.rp_filter_all = 1;
	judge();
	only(DOCTOR_HINT, "rp_filter of eth0 is strict", "rp_filter=2");
	facts.iface[0].rp_filter = 2;			/* the larger one counts */
	judge();
	nothing_bad();
}

static void interfaces(void **state)
{
	struct doctor_if *i = &facts.iface[0];

	i->up = false;
	judge();
	only(DOCTOR_PROBLEM, "eth0 is down", "bring it up");
	i->up = true;
	strcpy(i->master, "br0");
	judge();
	only(DOCTOR_PROBLEM, "port of br0", "interface = br0");
	i->master[0] = '\0';
	i->disable_ipv6 = 1;
	judge();
	only(DOCTOR_PROBLEM, "IPv6 is off", "disable_ipv6=0");
	conf.service[0].n_vips = 1;
	judge();
	nothing_bad();
	i->lro = 1;
	judge();
	only(DOCTOR_HINT, "large receive offload", "lro off");
	conf.service[0].dispatch = DISPATCH_ROUTE;
	judge();
	only(DOCTOR_PROBLEM, "large receive offload", "lro off");
	i->lro = UNKNOWN;
	conf.service[0].redirect = REDIRECT_VXLAN;
	judge();
	only(DOCTOR_HINT, "takes 50 bytes", "1550 or more");
	facts.own_mtu = 1550;			/* of the nodes' network, not of the service's interface */
	judge();
	nothing_bad();
	i->mtu = 576;
	judge();
	only(DOCTOR_HINT, "MTU of eth0 is 576", "raise");
	i->exists = false;
	judge();
	only(DOCTOR_PROBLEM, "there is no interface 'eth0'", "correct");
}

/* Two services, one interface, one finding that names both; the worse of the two levels. */
static void one_finding_per_trouble(void **state)
{
	conf.n_services = 2;
	conf.service[1] = conf.service[0];
	strcpy(conf.service[1].name, "dns");
	conf.service[1].dispatch = DISPATCH_ROUTE;
	facts.iface[0].lro = 1;
	judge();
	only(DOCTOR_PROBLEM, "large receive offload", "lro off");
	for (unsigned int i = 0; i < doctor.n; i++)
		if (strstr(doctor.finding[i].what, "offload"))
			assert_string_equal(doctor.finding[i].services, "web, dns");
	facts.iface[0].lro = 0;
	judge();
	nothing_bad();
	for (unsigned int i = 0; i < doctor.n; i++)
		if (!strcmp(doctor.finding[i].topic, "interface"))
			assert_string_equal(doctor.finding[i].services, "web, dns");
}

static void switches(void **state)
{
	struct doctor_if *i = &facts.iface[0];

	strcpy(i->driver, "vmxnet3");
	judge();
	only(DOCTOR_HINT, "a VMware switch", "promiscuous");
	conf.service[0].dispatch = DISPATCH_ANNOUNCE;
	judge();
	nothing_bad();
	strcpy(i->driver, "ena");
	judge();
	only(DOCTOR_PROBLEM, "Amazon", "route");
	conf.service[0].dispatch = DISPATCH_ROUTE;
	judge();
	nothing_bad();
	conf.service[0].dispatch = DISPATCH_FLOOD;
	strcpy(i->driver, "bridge");
	i->snooping = 1;
	judge();
	only(DOCTOR_HINT, "multicast_snooping", "mac = igmp");
	conf.service[0].mac = MAC_IGMP;
	judge();
	nothing_bad();
	strcpy(i->driver, "ipvlan");
	judge();
	only(DOCTOR_PROBLEM, "ipvlan", "macvlan");
}

static void machine(void **state)
{
	facts.key_err = 1;
	strcpy(facts.key_why, "others can read /k");
	judge();
	only(DOCTOR_HINT, "others can read /k", "chmod");
	facts.key_err = -2;
	judge();
	only(DOCTOR_PROBLEM, "others can read /k", "corosync-keygen");
	facts.key_err = 0;
	facts.clock_synced = 0;
	judge();
	only(DOCTOR_HINT, "clock", "NTP");
	facts.clock_synced = UNKNOWN;
	facts.corosync = 0;
	judge();
	only(DOCTOR_PROBLEM, "corosync does not run", "enable --now corosync");
	facts.corosync = 1;
	facts.token_ms = 3000;
	judge();
	only(DOCTOR_HINT, "token is 3000 ms in corosync.conf, and clusterd.ini says 1000", "corosync-conf");
	facts.token_ms = 0;
	judge();
	only(DOCTOR_HINT, "token is not set in corosync.conf", "corosync-conf");
	facts.token_ms = UNKNOWN;
	judge();
	only(DOCTOR_PROBLEM, "cannot be read", "corosync-conf");
	facts.token_ms = 1000;
	facts.self = NOBODY;
	facts.self_why = "no address is ours";
	facts.iface[0].name[0] = '\0';
	judge();
	only(DOCTOR_PROBLEM, "no address is ours", "nodes");
}

/* ---- the network ---- */

#define BROADCAST "{\"interface\":\"eth0\",\"mac\":\"ff:ff:ff:ff:ff:ff\",\"broadcast\":true,\"error\":null,"
#define SHARED(m) "{\"interface\":\"eth0\",\"mac\":\"" m "\",\"vip\":\"10.0.0.250\",\"broadcast\":false,\"error\":null,"
#define UNFRAMED  "\"framed\":[\"n3\"],"
#define FRAMED    "\"framed\":[\"n2\",\"n3\"],"
#define MEMBERS   "\"members\":[\"n1\",\"n2\",\"n3\"],"
#define ALL       "\"heard\":[\"n2\",\"n3\"],\"silent\":[]}"
#define SOME      "\"heard\":[\"n3\"],\"silent\":[\"n2\"]}"

static void judge_net(const char *text)
{
	json_error_t error;
	json_t *net = json_loads(text, 0, &error);

	if (!net)
		fail_msg("%s: %s", error.text, text);
	doctor_free(&doctor);
	doctor_judge_net(&doctor, &conf, facts.own_mtu, net);
	json_decref(net);
}

static void floods(void **state)
{
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("01:00:5e:00:00:fa") ALL "],\"paths\":null}");
	nothing_bad();
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("01:00:5e:00:00:fa") UNFRAMED SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "n2 heard a broadcast, but not the frame to 01:00:5e:00:00:fa", "mac = unicast");
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("02:c1:0a:00:00:fa") UNFRAMED SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "n2 heard a broadcast", "dispatch = announce");
	/* The frame came, and only the packet did not: something looks at the IP address. */
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("01:00:5e:00:00:fa") FRAMED SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "n2 heard a frame to 01:00:5e:00:00:fa, but not the packet to 10.0.0.250", "set mac = unicast");
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("02:c1:0a:00:00:fa") FRAMED SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "n2 heard a frame", "address checks");
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST ALL "," SHARED("01:00:5e:00:00:fa") FRAMED ALL "],\"paths\":null}");
	nothing_bad();
	/* Who hears nothing at all is somewhere else: one finding, not two. */
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST SOME "," SHARED("01:00:5e:00:00:fa") UNFRAMED SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "n2 did not hear a broadcast", "VLAN");
	conf.service[0].dispatch = DISPATCH_ROUTE;
	conf.service[0].redirect = REDIRECT_VXLAN;
	judge_net("{" MEMBERS "\"flood\":[" BROADCAST SOME "],\"paths\":null}");
	only(DOCTOR_HINT, "n2 did not hear", "VLAN");
	judge_net("{" MEMBERS "\"flood\":[{\"interface\":\"eth0\",\"mac\":\"ff:ff:ff:ff:ff:ff\",\"broadcast\":true,"
		  "\"error\":\"Network is down\"," SOME "],\"paths\":null}");
	only(DOCTOR_PROBLEM, "could not be sent: Network is down", "up");
}

static void who_is_there(void **state)
{
	judge_net("{\"members\":[\"n1\"],\"flood\":[],\"paths\":[]}");
	only(DOCTOR_HINT, "no other node", "start clusterd");
	judge_net("{\"members\":[\"n1\",\"n2\"],\"flood\":[],\"paths\":[]}");
	only(DOCTOR_HINT, "2 of 3 nodes", "start clusterd");
	judge_net("{" MEMBERS "\"flood\":null,\"paths\":[]}");
	only(DOCTOR_HINT, "cannot send test frames", "log");
}

static void paths(void **state)
{
	judge_net("{" MEMBERS "\"flood\":[],\"paths\":[{\"node\":\"n2\",\"answers\":true,\"mtu\":1500},"
		  "{\"node\":\"n3\",\"answers\":false,\"mtu\":null}]}");
	only(DOCTOR_PROBLEM, "n3 does not answer at UDP port 5408", "5407 and 5408");
	judge_net("{" MEMBERS "\"flood\":[],\"paths\":[{\"node\":\"n2\",\"answers\":true,\"mtu\":1400}]}");
	only(DOCTOR_HINT, "to n2 packets of up to 1400 bytes", "same MTU");
	facts.own_mtu = 1400;
	judge_net("{" MEMBERS "\"flood\":[],\"paths\":[{\"node\":\"n2\",\"answers\":true,\"mtu\":1400}]}");
	nothing_bad();
	facts.own_mtu = 9000;
	judge_net("{" MEMBERS "\"flood\":[],\"paths\":[{\"node\":\"n2\",\"answers\":true,\"mtu\":4352}]}");
	only(DOCTOR_HINT, "up to 4352 bytes", "same MTU");
	facts.own_mtu = 1600;
	judge_net("{" MEMBERS "\"flood\":[],\"paths\":[{\"node\":\"n2\",\"answers\":true,\"mtu\":1500}]}");
	nothing_bad();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_is_well, setup, teardown),
		cmocka_unit_test_setup_teardown(features_by_need, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_lacks, setup, teardown),
		cmocka_unit_test_setup_teardown(settings, setup, teardown),
		cmocka_unit_test_setup_teardown(arp_and_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(interfaces, setup, teardown),
		cmocka_unit_test_setup_teardown(one_finding_per_trouble, setup, teardown),
		cmocka_unit_test_setup_teardown(switches, setup, teardown),
		cmocka_unit_test_setup_teardown(machine, setup, teardown),
		cmocka_unit_test_setup_teardown(floods, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(paths, setup, teardown),
	};

	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
