// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/early.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/early_map.h"

#define TCX_INGRESS 46		/* BPF_TCX_INGRESS; headers before Linux 6.6 lack it */

static_assert(EARLY_SERVICES == SERVICES_MAX, "early_map.h");
static_assert(EARLY_MARK == RULES_MARK_ACCEPT, "early_map.h");

extern const uint8_t early_object[], early_object_end[];

struct early {
	struct bpf_object *object;
	unsigned int n_services, n_links, cpus;
	struct {
		char device[IFNAME_SIZE];
		unsigned int index;	/* 0: not attached */
		int fd;
	} link[SERVICES_MAX];
	int program_fd, counts_fd;
	struct early_conf conf;
	struct early_service service[SERVICES_MAX];
	uint8_t *verdict;		/* shared with the program; conf.total bytes */
	struct early_count *count;	/* one per processor */
};

static int fail(char *why, size_t size, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(char *why, size_t size, int err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(why, size, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < size)
		snprintf(why + n, size - (size_t)n, ": %s", strerror(-err));
	return err;
}

static int no_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

/* ---- what the program is to know ---- */

static void fill_services(struct early *e, const struct rules_want *want)
{
	for (unsigned int i = 0; i < want->n_services; i++) {
		const struct rules_service *s = &want->service[i];

		e->service[i] = (struct early_service){
			.seed = s->seed, .buckets = s->buckets, .first = e->conf.total,
			.with_port = s->hash == HASH_SOURCE_PORT,
			.to_us = s->conf->dispatch != DISPATCH_FLOOD,
		};
		e->conf.total += s->buckets;
	}
}

/* Calls 'cb' for every single port of every service. */
static int each_key(const struct rules_want *want,
		    int (*cb)(struct early *e, const struct early_key *key, uint32_t service),
		    struct early *e)
{
	for (unsigned int i = 0; i < want->n_services; i++) {
		const struct conf_service *s = want->service[i].conf;

		for (unsigned int n = 0; n < s->n_vips * s->n_ports; n++) {
			const struct addr *a = &s->vip[n % s->n_vips];
			const struct conf_port *p = &s->port[n / s->n_vips];
			struct early_key key = {
				.port = htons(p->lo), .proto = p->proto, .v6 = a->family == AF_INET6,
			};
			int err;

			if (p->lo != p->hi)
				continue;
			memcpy(key.addr, a->b, addr_size(a));
			err = cb(e, &key, i);
			if (err)
				return err;
		}
	}
	return 0;
}

static int add_near(struct early *e, const struct early_key *key, uint32_t service)
{
	struct early_near *near = key->v6 ? e->conf.near6 : e->conf.near4;
	uint32_t *n = key->v6 ? &e->conf.n6 : &e->conf.n4;

	if (*n < EARLY_NEAR)
		near[(*n)++] = (struct early_near){ *key, service };
	else
		*(key->v6 ? &e->conf.more6 : &e->conf.more4) += 1;
	return 0;
}

static int add_far(struct early *e, const struct early_key *key, uint32_t service)
{
	int fd = bpf_object__find_map_fd_by_name(e->object, "services");

	return bpf_map_update_elem(fd, key, &service, BPF_ANY) ? -errno : 0;
}

/* ---- loading ---- */

static int set_sizes(struct early *e)
{
	struct bpf_map *conf = bpf_object__find_map_by_name(e->object, ".rodata");
	struct bpf_map *services = bpf_object__find_map_by_name(e->object, "services");
	struct bpf_map *verdict = bpf_object__find_map_by_name(e->object, "verdict");
	uint32_t far = e->conf.more4 || e->conf.more6 ?
		       e->conf.more4 + e->conf.more6 + e->conf.n4 + e->conf.n6 : 1;
	int err;

	if (!conf || !services || !verdict)
		return -ENOENT;
	err = bpf_map__set_initial_value(conf, &e->conf, sizeof(e->conf));
	if (!err)
		err = bpf_map__set_max_entries(services, far);
	if (!err)
		err = bpf_map__set_value_size(verdict, e->conf.total);
	return err;
}

static int set_services(struct early *e)
{
	int fd = bpf_object__find_map_fd_by_name(e->object, "params");

	for (uint32_t i = 0; i < e->n_services; i++)
		if (bpf_map_update_elem(fd, &i, &e->service[i], BPF_ANY))
			return -errno;
	return 0;
}

static int map_verdicts(struct early *e)
{
	int fd = bpf_object__find_map_fd_by_name(e->object, "verdict");
	void *p = mmap(NULL, e->conf.total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	e->verdict = p;
	return 0;
}

static int load(struct early *e, const struct rules_want *want, char *why, size_t size)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "clusterd");
	int err, cpus = libbpf_num_possible_cpus();

	if (cpus < 1)
		return fail(why, size, cpus, "number of processors");
	e->cpus = (unsigned int)cpus;
	e->count = calloc(e->cpus, sizeof(*e->count));
	if (!e->count)
		return fail(why, size, -ENOMEM, "memory");
	e->object = bpf_object__open_mem(early_object, (size_t)(early_object_end - early_object), &opts);
	if (!e->object)
		return fail(why, size, -errno, "the program cannot be read");
	err = set_sizes(e);
	if (!err)
		err = bpf_object__load(e->object);
	if (err)
		return fail(why, size, err, "the kernel does not take the program%s",
			    err == -EPERM ? " (CAP_BPF is needed)" : "");
	e->program_fd = bpf_program__fd(bpf_object__find_program_by_name(e->object, "early"));
	e->counts_fd = bpf_object__find_map_fd_by_name(e->object, "counts");
	err = set_services(e);
	if (!err)
		err = map_verdicts(e);
	if (!err && (e->conf.more4 || e->conf.more6))
		err = each_key(want, add_far, e);
	return err ? fail(why, size, err, "the program's maps") : 0;
}

static void detach(struct early *e, unsigned int i)
{
	if (e->link[i].index)
		close(e->link[i].fd);
	e->link[i].index = 0;
}

static int attach(struct early *e, unsigned int i)
{
	unsigned int index = if_nametoindex(e->link[i].device);

	if (!index)
		return -errno;
	e->link[i].fd = bpf_link_create(e->program_fd, (int)index, TCX_INGRESS, NULL);
	if (e->link[i].fd < 0)
		return -errno;
	assert(e->link[i].fd < RULES_FD_MIN);
	e->link[i].index = index;
	return 0;
}

static int attach_all(struct early *e, const struct rules_want *want, char *why, size_t size)
{
	for (unsigned int i = 0; i < want->n_services; i++) {
		const char *device = want->service[i].interface;
		unsigned int k;
		int err;

		for (k = 0; k < e->n_links && strcmp(e->link[k].device, device); k++)
			;
		if (k < e->n_links)
			continue;
		snprintf(e->link[e->n_links++].device, IFNAME_SIZE, "%s", device);
		err = attach(e, k);
		if (err)
			return fail(why, size, err, "the program cannot be attached to %s (Linux 6.6 "
				    "can)", device);
	}
	return 0;
}

int early_open(struct early **out, const struct rules_want *want, char *why, size_t size)
{
	struct early *e = calloc(1, sizeof(*e));
	int err;

	*out = NULL;
	if (!e)
		return fail(why, size, -ENOMEM, "memory");
	libbpf_set_print(no_print);
	e->n_services = want->n_services;
	fill_services(e, want);
	each_key(want, add_near, e);
	err = load(e, want, why, size);
	if (!err)
		err = attach_all(e, want, why, size);
	if (err) {
		early_close(e);
		return err;
	}
	*out = e;
	return 0;
}

void early_close(struct early *e)
{
	if (!e)
		return;
	for (unsigned int i = 0; i < e->n_links; i++)
		detach(e, i);
	if (e->verdict)
		munmap(e->verdict, e->conf.total);
	bpf_object__close(e->object);
	free(e->count);
	free(e);
}

int early_refresh(struct early *e)
{
	int err = 0, ret;

	for (unsigned int i = 0; e && i < e->n_links; i++) {
		unsigned int index = if_nametoindex(e->link[i].device);

		if (!index || index == e->link[i].index)
			continue;
		detach(e, i);
		ret = attach(e, i);
		if (ret)
			err = ret;
	}
	return err;
}

/* ---- verdicts ---- */

/* What depends on more than the bucket is the rules' business: who handed it over, a flow map, a SYN. */
static uint8_t verdict_of(const struct rules_service *s, const struct bucket_action *a)
{
	if (s->freeze || s->conf->sched != SCHED_HASH)
		return EARLY_PASS;
	switch ((enum bucket_state)a->state) {
	case BUCKET_FOREIGN:
		return s->conf->dispatch == DISPATCH_FLOOD ? EARLY_DROP : EARLY_PASS;
	case BUCKET_MINE:
		return EARLY_ACCEPT;
	case BUCKET_ARRIVING:
	case BUCKET_ADOPTING:
	case BUCKET_LEAVING:
	case BUCKET_DRAINING:
	case BUCKET_STATES_N:
		return EARLY_PASS;
	}
	return EARLY_PASS;
}

/* The program hashes with what it was loaded with. */
static bool as_loaded(const struct early *e, const struct rules_want *want)
{
	if (want->n_services != e->n_services)
		return false;
	for (unsigned int i = 0; i < want->n_services; i++)
		if (want->service[i].seed != e->service[i].seed ||
		    want->service[i].buckets != e->service[i].buckets ||
		    (want->service[i].hash == HASH_SOURCE_PORT) !=
		    (e->service[i].with_port != 0))
			return false;
	return true;
}

/* Processors read the bytes at any time: each is written once, and only if it differs. */
static void write_verdicts(struct early *e, const struct rules_want *want, bool hold)
{
	volatile uint8_t *v = e->verdict;

	for (unsigned int i = 0; i < want->n_services; i++) {
		const struct rules_service *s = &want->service[i];

		for (uint32_t b = 0; b < s->buckets; b++, v++) {
			uint8_t to = verdict_of(s, &s->action[b]);

			if (*v != to)
				*v = hold ? EARLY_PASS : to;
		}
	}
	__sync_synchronize();
}

void early_hold(struct early *e, const struct rules_want *want)
{
	if (!e)
		return;
	if (as_loaded(e, want))
		write_verdicts(e, want, true);
	else
		early_clear(e);
}

void early_release(struct early *e, const struct rules_want *want)
{
	if (e && as_loaded(e, want))
		write_verdicts(e, want, false);
}

void early_clear(struct early *e)
{
	if (!e)
		return;
	memset(e->verdict, EARLY_PASS, e->conf.total);
	__sync_synchronize();
}

int early_counters(struct early *e, unsigned int service, struct rules_counters *sum)
{
	if (!e)
		return 0;
	if (service >= e->n_services)
		return -ENOENT;
	if (bpf_map_lookup_elem(e->counts_fd, &service, e->count))
		return -errno;
	for (unsigned int i = 0; i < e->cpus; i++) {
		sum->accepted += e->count[i].accepted;
		sum->foreign += e->count[i].foreign;
	}
	return 0;
}
