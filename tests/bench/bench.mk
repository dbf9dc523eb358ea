# SPDX-License-Identifier: GPL-2.0-or-later
# sudo make bench      measures; BENCH="--only packets,commit --full --out FILE" passes options on

BENCH_O = $(call obj,$(addprefix clusterd/,$(addprefix io/,$(filter rules%,$(IO)) $(EARLY)) util/addr util/jhash core/types))
BENCH_PROGRAMS = $(addprefix $(B)/tests/,bench_send bench_rules bench_xdp bench_drop.bpf.o assign_bench core_bench)

$(B)/tests/bench_send: $(addprefix $(O)/,tests/bench/send.o clusterd/util/jhash.o clusterd/util/addr.o)
$(B)/tests/bench_rules: $(O)/tests/bench/rules.o $(BENCH_O)
$(B)/tests/bench_xdp: $(O)/tests/bench/xdp.o
$(B)/tests/bench_xdp: LIBS = -lbpf
$(addprefix $(B)/tests/,bench_send bench_rules bench_xdp):
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/bench_drop.bpf.o: tests/bench/drop.bpf.c tests/bench/bench.h
	@mkdir -p $(@D)
	@echo "  CLANG   $@"
	$(Q)clang -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

bench-programs: $(BENCH_PROGRAMS)

bench: deps all $(BENCH_PROGRAMS)
	@BUILD=$(B) /usr/bin/python3 tests/bench/bench.py $(BENCH)

.PHONY: bench bench-programs
