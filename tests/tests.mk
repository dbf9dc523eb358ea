# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests.  T_NAME lists the objects that tests/unit/NAME_test.c links: the list is the claim of
# what the module depends on; when it grows, the design slipped.

TESTS := addr jhash buf conf assign repl repl_state weigh reweigh hold layout inherit lease lease_peer report agent agent_layout agent_ready agent_weigh msg hello key rules_plan rules_stack rules_enc rules_lease compile proto ctl ctl_ways ctl_plan notify notify_run log doctor sched flowtab flow announce queue rules_sched policy monitor monitor_more
TESTS += registry host child builtin
TESTS += health
TESTS += reach sorry
TESTS += check check_http check_local check_systemd unit

T_addr       := util/addr
T_jhash      := util/jhash util/addr
T_buf        := util/buf
T_conf       := $(addprefix conf/,$(CONF)) util/addr
T_assign     := core/assign util/jhash util/addr
T_repl       := core/repl core/repl_hold core/repl_layout core/repl_snap core/weigh core/msg core/assign core/types util/jhash util/addr util/buf
T_repl_state := $(T_repl)
T_weigh      := $(T_repl)
T_reweigh    := $(T_repl)
T_hold       := $(T_repl)
T_layout     := $(T_repl)
T_inherit    := core/repl core/repl_hold core/repl_layout core/repl_snap core/weigh core/compile core/msg core/assign core/types util/jhash util/addr util/buf
T_lease      := core/lease
T_lease_peer := $(T_lease)
T_agent      := core/agent core/agent_exchange core/agent_drain core/agent_layout core/agent_note core/agent_status core/agent_load core/agent_health core/report core/repl core/repl_hold core/repl_layout core/repl_snap core/weigh core/msg core/compile core/assign core/types util/jhash util/addr util/buf
T_agent_layout := $(T_agent)
T_agent_ready := $(T_agent)
T_agent_weigh := $(T_agent)
T_report     := core/report
T_msg        := wire/msg core/msg core/types util/buf util/addr util/jhash
T_hello      := wire/hello util/buf
T_key        := io/key
T_sched      := core/sched
T_health     := core/health
T_reach      := io/reach_segment util/addr util/buf
T_sorry      := io/sorry util/addr
$(B)/tests/sorry_test: LDFLAGS += -Wl,--wrap=getsockopt
T_flowtab    := core/flowtab util/jhash util/addr
T_flow       := wire/flow util/buf
T_queue      := io/queue_decide core/sched core/flowtab util/jhash util/addr
P_rules     := $(addprefix io/,$(RULES_PLAN)) util/addr util/jhash core/types core/sched
T_rules_plan := $(P_rules)
T_rules_stack := $(P_rules)
T_rules_sched := $(P_rules)
T_rules_enc := io/rules_enc $(P_rules)
T_rules_lease := io/rules_lease io/rules_enc $(P_rules)
T_compile    := core/compile core/repl core/repl_hold core/repl_layout core/repl_snap core/weigh core/msg core/assign core/types util/jhash util/addr util/buf
T_proto      := ctl/proto
T_ctl        := $(addprefix ctl/,$(CTL) client render render_plan grid) conf/conf_table util/addr util/jhash util/log core/types
T_ctl_ways   := $(T_ctl)
T_ctl_plan   := $(T_ctl)
T_notify     := plug/notify conf/conf_table util/log util/addr
T_notify_run := plug/notify plug/child conf/conf_table util/log util/addr
T_log        := util/log
T_doctor     := io/doctor ctl/doctor_net conf/conf_table util/addr
T_announce   := io/announce util/addr util/log
T_registry   := plug/registry plug/registry_conf $(addprefix conf/,$(CONF)) util/addr
T_child      := plug/child util/log
T_host       := plug/host plug/child util/log
T_policy     :=
$(B)/tests/policy_test: $(patsubst %,$(O)/builtin/%.o,$(filter policy-%,$(PLUGINS_BUILTIN)))
T_monitor    :=
T_monitor_more :=
MONITOR_TEST := $(O)/tests/unit/monitor_common.o $(patsubst %,$(O)/builtin/%.o,$(filter monitor-%,$(PLUGINS_BUILTIN)))
$(B)/tests/monitor_test $(B)/tests/monitor_more_test: $(MONITOR_TEST)
# Leads their open() of /proc and /sys to files of the test.
$(B)/tests/monitor_test $(B)/tests/monitor_more_test: LDFLAGS += -Wl,--wrap=open,--wrap=access
# Every plugin there is, inside and as a file.
T_builtin    := plug/registry plug/builtin
$(B)/tests/builtin_test: $(BUILTIN_O) | $(PLUGIN_FILES) $(B)/plugins/monitor-template.so
# Plugins that must be refused, and one for each way of misbehaving.
BAD_PLUGINS  := $(patsubst tests/plugins/%.c,$(B)/tests/plugins/%.so,$(wildcard tests/plugins/*.c))
$(B)/tests/registry_test: | $(BAD_PLUGINS) $(B)/plugins/monitor-template.so

# The checks are loaded from their files: these tests link nothing of clusterd.
T_check      :=
T_check_http :=
T_check_local :=
T_check_systemd :=
T_unit := io/unit
$(B)/tests/check_test: | $(addprefix $(B)/plugins/,check-tcp.so check-dns.so)
$(B)/tests/check_systemd_test: | $(B)/plugins/check-systemd.so
$(B)/tests/check_local_test: | $(addprefix $(B)/plugins/,check-exec.so check-link.so check-disk.so)
# Its fsync() takes the place of the C library's.
$(B)/tests/check_local_test: LDFLAGS += -rdynamic
$(B)/tests/check_http_test: | $(addprefix $(B)/plugins/,check-http.so check-https.so)

define unit_rule
$(B)/tests/$(1)_test: $(O)/tests/unit/$(1)_test.o $(addprefix $(O)/clusterd/,$(addsuffix .o,$(T_$(1))))
	@mkdir -p $$(@D)
	@echo "  LD      $$@"
	$(Q)$(CC) $(ALL_CFLAGS) $$(LDFLAGS) -o $$@ $$^ -lcmocka $(LIBS)
endef
$(foreach t,$(TESTS),$(eval $(call unit_rule,$(t))))

$(O)/tests/plugins/%.o: ALL_CFLAGS += -fPIC -Wno-override-init
$(B)/tests/plugins/%.so: $(O)/tests/plugins/%.o
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -o $@ $<

$(B)/tests/assign_bench: $(addprefix $(O)/,tests/bench/assign_bench.o $(addprefix clusterd/,$(addsuffix .o,$(T_assign))))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(B)/tests/core_bench: $(addprefix $(O)/,tests/bench/core_bench.o $(addprefix clusterd/,$(addsuffix .o,$(T_compile))))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(B)/tests/check_bench: $(addprefix $(O)/,tests/bench/check_bench.o $(addprefix clusterd/,plug/host.o plug/child.o util/log.o)) \
		| $(addprefix $(B)/plugins/check-,tcp.so http.so https.so link.so disk.so exec.so)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS)

# Against the kernel and a real corosync, in namespaces of their own.
K_netif := $(addprefix io/,netif netif_vip netif_mac netif_sysctl netif_link flows) util/addr util/jhash util/log
K_group := io/group
K_probe := io/probe io/probe_packet util/addr util/buf
K_announce := io/announce util/addr util/log
K_sockets := io/sockets util/addr
K_tunnel := $(addprefix io/,tunnel netif netif_vip netif_mac netif_sysctl netif_link) util/addr util/log
KT_rules := rules_lab.o
K_rules := $(addprefix io/,$(RULES) $(EARLY)) util/addr util/jhash core/sched

KT_stack := stack_lab.o stack_queue.o stack_sorry.o
K_stack := io/rules_enc io/rules_nl io/rules_queue io/rules_lease $(P_rules)

KT_handed := handed_lab.o handed_odd.o
K_handed := $(K_rules) core/types

K_flows := io/flows io/flowsock io/sockaddr wire/flow util/addr util/jhash util/buf
KT_queue := handed_lab.o
K_queue := $(K_rules) $(addprefix io/,queue queue_decide) core/types core/flowtab

KT_early := rules_lab.o
K_early := $(K_rules) core/types

define kernel_rule
$(B)/tests/$(1)_kernel: $(O)/tests/netns/$(1)_kernel.o $(addprefix $(O)/tests/netns/,$(KT_$(1))) $(addprefix $(O)/clusterd/,$(addsuffix .o,$(K_$(1))))
	@mkdir -p $$(@D)
	@echo "  LD      $$@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $$@ $$^ $(LIBS)
endef
$(foreach t,rules handed stack early netif tunnel announce group probe queue flows sockets,$(eval $(call kernel_rule,$(t))))

# The cluster simulator: core/ in a modelled world, see tests/sim/README.md.
SIM := event net group node kernel packet load script scenario rehash weigh main
SIM_SEEDS ?= 5000
$(B)/tests/sim: $(call obj,$(addprefix tests/sim/,$(SIM))) $(CORE_O) \
		$(patsubst %,$(O)/builtin/%.o,$(filter policy-%,$(PLUGINS_BUILTIN))) \
		$(call obj,clusterd/wire/msg $(addprefix clusterd/util/,addr buf jhash))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

sim: $(B)/tests/sim
	@$< -c $(SIM_SEEDS)

unit: $(foreach t,$(TESTS),$(B)/tests/$(t)_test)
	@bad=0; for t in $^; do $$t || bad=1; done; exit $$bad

kernel: $(foreach t,rules handed stack early netif tunnel announce group probe queue flows sockets,$(B)/tests/$(t)_kernel)
	@bad=0; for t in $^ '$(B)/tests/rules_kernel early'; do $$t; r=$$?; [ $$r = 0 ] || [ $$r = 77 ] || bad=1; done; exit $$bad

# The cluster tests alone; NETNS=names runs those whose names hold one of them, -l lists them.
netns: all $(BAD_PLUGINS)
	@BUILD=$(B) /usr/bin/python3 tests/netns/run.py $(NETNS)

demo: deps all
	@BUILD=$(B) /usr/bin/python3 tests/demo.py

# Everything.  CHECK=words runs only the stages whose names hold one of them.
check: deps all
	@tests/check.py $(CHECK)

.PHONY: unit sim kernel netns demo check

include tests/bench/bench.mk
include tests/experiments/experiments.mk
include tests/stock/stock.mk
