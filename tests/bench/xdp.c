// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xdp OBJECT DEVICE BUCKETS|all [send]: attaches drop.bpf.c's program in generic mode until stdin ends:
 * drops foreign packets, or all, or sends foreign ones to their owners.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "bench.h"

static int fail(const char *what, int err)
{
	fprintf(stderr, "xdp: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return 1;
}

static int fill(struct bpf_object *o, uint32_t buckets)
{
	int fd = bpf_object__find_map_fd_by_name(o, "table");
	uint32_t b;

	for (b = 0; b < buckets; b++) {
		uint8_t owner = bench_owner(b);

		if (bpf_map_update_elem(fd, &b, &owner, 0))
			return -errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t buckets = argc >= 4 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
	struct bpf_program *prog;
	struct bpf_object *o;
	struct bpf_map *ro;
	int ret, ifindex;
	char c;

	if (argc != 4 && (argc != 5 || strcmp(argv[4], "send"))) {
		fprintf(stderr, "usage: xdp OBJECT DEVICE BUCKETS|all [send]\n");
		return 2;
	}
	ifindex = (int)if_nametoindex(argv[2]);
	if (!ifindex)
		return fail(argv[2], errno);
	o = bpf_object__open_file(argv[1], NULL);
	if (!o)
		return fail(argv[1], errno);
	ro = bpf_object__find_map_by_name(o, ".rodata");
	if (buckets && (!ro || bpf_map__set_initial_value(ro, &buckets, sizeof(buckets))))
		return fail("number of buckets", EINVAL);
	ret = bpf_object__load(o);
	if (!ret && buckets)
		ret = fill(o, buckets);
	if (ret)
		return fail("load", ret);
	prog = bpf_object__find_program_by_name(o, argc == 5 ? "send_foreign" :
						buckets ? "drop_foreign" : "drop_all");
	ret = bpf_xdp_attach(ifindex, bpf_program__fd(prog), XDP_FLAGS_SKB_MODE, NULL);
	if (ret)
		return fail("attach", ret);
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	bpf_xdp_detach(ifindex, XDP_FLAGS_SKB_MODE, NULL);
	bpf_object__close(o);
	return 0;
}
