# SPDX-License-Identifier: GPL-2.0-or-later
# sudo make bench      measures; BENCH="--only packets,commit --full --out FILE" passes options on

BENCH_O = $(call obj,$(addprefix clusterd/,$(addprefix io/,$(filter rules%,$(IO)) $(EARLY) netif netif_vip netif_mac netif_sysctl netif_link tunnel) util/addr util/jhash core/types core/sched util/log))
BENCH_PROGRAMS = $(addprefix $(B)/tests/,bench_send bench_rules bench_xdp bench_drop.bpf.o assign_bench core_bench queue_bench)

$(B)/tests/bench_send: $(addprefix $(O)/,tests/bench/send.o clusterd/util/jhash.o clusterd/util/addr.o)
$(B)/tests/bench_rules: $(O)/tests/bench/rules.o $(BENCH_O)
$(B)/tests/bench_xdp: $(O)/tests/bench/xdp.o
$(B)/tests/bench_xdp: LIBS = -lbpf
$(addprefix $(B)/tests/,bench_send bench_rules bench_xdp):
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/queue_bench: $(addprefix $(O)/,tests/bench/queue_bench.o tests/netns/handed_lab.o $(addprefix clusterd/,$(addsuffix .o,$(K_queue))))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/tests/bench/queue_bench.o: ALL_CFLAGS += -Itests -Itests/netns

$(B)/tests/bench_drop.bpf.o: tests/bench/drop.bpf.c tests/bench/bench.h
	@mkdir -p $(@D)
	@echo "  CLANG   $@"
	$(Q)clang -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

bench-programs: $(BENCH_PROGRAMS)

bench: deps all $(BENCH_PROGRAMS)
	@BUILD=$(B) /usr/bin/python3 tests/bench/bench.py $(BENCH)

.PHONY: bench bench-programs
