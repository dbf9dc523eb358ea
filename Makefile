# SPDX-License-Identifier: GPL-2.0-or-later
# make            builds clusterd and clusterctl in build/
# make deps       installs what building and testing needs (Debian packages)
# make check      every test; make demo, make bench, make experiments: see README.md
# SAN=address|undefined builds into build-SAN/ with that sanitizer; V=1 shows the commands.

PREFIX  ?= /usr
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR  ?= $(PREFIX)/share/man
MANPAGES = $(wildcard doc/man/*.[578])
PLUGINDIR ?= $(PREFIX)/lib/clusterd
INCLUDEDIR ?= $(PREFIX)/include/clusterd
CC      ?= gcc
CFLAGS  ?= -O2 -g
VERSION := 0.1
B       := build$(if $(SAN),-$(SAN))
O       := $(B)/obj
Q       := $(if $(V),,@)

PKGS    := libnftnl libmnl libnetfilter_queue libnetfilter_conntrack libcpg libquorum libcorosync_common jansson libsystemd nettle libmicrohttpd
# The fast path (clusterd/io/early.h) needs these two; without them clusterd is built without it.
BPF_CC  := $(if $(shell pkg-config --exists libbpf && echo yes),$(shell command -v clang))
PKGS    += $(if $(BPF_CC),libbpf)
WARN    := -Wall -Wextra -Werror -Wshadow -Wswitch-enum -Wmissing-prototypes -Wstrict-prototypes \
           -Wpointer-arith -Wformat=2 -Wvla -Wno-unused-parameter
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -fvisibility=hidden -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
           -Iclusterd $(shell pkg-config --cflags $(PKGS) 2>/dev/null) -I/usr/include/iniparser \
           $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) -MMD -MP
LIBS    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -liniparser -lpthread -lresolv

EARLY   := $(if $(BPF_CC),early early_object,early_none)
UTIL    := addr log buf jhash
CONF    := conf_table conf_value conf_read conf_print conf_check conf_corosync
CORE    := types msg assign repl repl_hold repl_layout repl_snap weigh agent agent_exchange agent_drain agent_layout agent_note agent_status agent_load agent_health report lease compile sched flowtab health
WIRE    := msg hello flow
RULES_PLAN := rules_mk rules_build rules_ingress rules_action rules_icmp rules_frag rules_sched rules_stack rules_sorry rules_guard rules_plan
RULES   := rules rules_probe $(RULES_PLAN) rules_enc rules_nl rules_queue rules_lease rules_flows
IO      := $(RULES) sorry reach reach_segment sockets unit flowsock queue queue_decide netif netif_vip netif_mac netif_sysctl netif_link tunnel announce flows group key sockaddr hellosock probe probe_packet $(EARLY)
CTL     := proto table server cmds status trace events flowlist netcheck plan observers
PLUG    := registry registry_conf builtin host child notify
DAEMON  := main setup turn turn_group ways flowpath giveup observe peercheck control heartbeat

obj = $(addprefix $(O)/,$(addsuffix .o,$(1)))
UTIL_O := $(call obj,$(addprefix clusterd/util/,$(UTIL)))
CONF_O := $(call obj,$(addprefix clusterd/conf/,$(CONF)))
CORE_O := $(call obj,$(addprefix clusterd/core/,$(CORE)))
WIRE_O := $(call obj,$(addprefix clusterd/wire/,$(WIRE)))
IO_O   := $(call obj,$(addprefix clusterd/io/,$(IO)))
CTL_O  := $(call obj,$(addprefix clusterd/ctl/,$(CTL)))
PLUG_O := $(call obj,$(addprefix clusterd/plug/,$(PLUG)))
DAEMON_O := $(call obj,$(addprefix clusterd/,$(DAEMON)))
CLI_O  := $(call obj,clusterd/clusterctl $(addprefix clusterd/ctl/,proto table client local grid render render_plan watch doctor doctor_net))

# Plugins: those in PLUGINS_BUILTIN are in the programs (clusterd/plug/builtin.c lists them), those in
# PLUGINS_SO only in PLUGINDIR.  Each is built as PLUGINDIR/KIND-NAME.so as well, from one source.
PLUGINS_BUILTIN := monitor-cpu monitor-disk monitor-memory monitor-psi monitor-conn monitor-net monitor-exec \
           check-tcp check-exec check-systemd check-link check-disk check-dns \
           policy-load policy-wlc policy-memory-1 policy-memory-2
PLUGINS_SO := $(if $(shell pkg-config --exists libcurl && echo yes),check-http check-https)
# What one of them needs besides: its source when that is another one's, flags, libraries.
SOURCE_check-https := check-http
SOURCE_monitor-template := template
CFLAGS_check-https := -DCHECK_HTTPS
PKGS_check-http  := libcurl
PKGS_check-https := libcurl
PKGS_check-systemd := libsystemd
LIBS_check-dns   := -lresolv

plugin_source = plugins/$(or $(SOURCE_$(1)),$(1)).c
BUILTIN_O := $(PLUGINS_BUILTIN:%=$(O)/builtin/%.o)
PLUGIN_FILES := $(patsubst %,$(B)/plugins/%.so,$(PLUGINS_BUILTIN) $(PLUGINS_SO))

all: $(B)/clusterd $(B)/clusterctl $(PLUGIN_FILES)

# $(call plugin_rule,KIND-NAME)
define plugin_rule
$(O)/builtin/$(1).o: $(call plugin_source,$(1))
	@mkdir -p $$(@D)
	@echo "  CC      $(1) (built in)"
	$$(Q)$$(CC) $$(ALL_CFLAGS) $(CFLAGS_$(1)) -Dclusterd_plugin=clusterd_plugin_$(subst -,_,$(1)) -c -o $$@ $$<

$(O)/plugins/$(1).o: $(call plugin_source,$(1))
	@mkdir -p $$(@D)
	@echo "  CC      $(1).so"
	$$(Q)$$(CC) $$(ALL_CFLAGS) $(CFLAGS_$(1)) -fPIC $(if $(PKGS_$(1)),$$(shell pkg-config --cflags $(PKGS_$(1)))) -c -o $$@ $$<

$(B)/plugins/$(1).so: $(O)/plugins/$(1).o
	@mkdir -p $$(@D)
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(LDFLAGS) -shared -Wl,-z,defs -o $$@ $$< $(LIBS_$(1)) $(if $(PKGS_$(1)),$$(shell pkg-config --libs $(PKGS_$(1))))
endef
$(foreach p,$(PLUGINS_BUILTIN) $(PLUGINS_SO) monitor-template,$(eval $(call plugin_rule,$(p))))

plugins: $(PLUGIN_FILES)

# The directory is built in: once more when 'make install' names another one.
$(O)/clusterd/plug/registry.o: ALL_CFLAGS += -DPLUGINDIR='"$(PLUGINDIR)"'
$(O)/clusterd/plug/registry.o: $(O)/plugindir
$(O)/plugindir: FORCE
	@mkdir -p $(@D)
	@echo '$(PLUGINDIR)' | cmp -s - $@ || echo '$(PLUGINDIR)' > $@

$(B)/clusterd: $(DAEMON_O) $(CTL_O) $(IO_O) $(WIRE_O) $(CORE_O) $(CONF_O) $(PLUG_O) $(BUILTIN_O) $(UTIL_O)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/clusterctl: $(CLI_O) $(CONF_O) $(UTIL_O) $(BUILTIN_O) $(call obj,$(addprefix clusterd/plug/,registry registry_conf builtin)) $(call obj,$(addprefix clusterd/io/,$(RULES) doctor doctor_look doctor_kernel key)) $(call obj,clusterd/core/types clusterd/core/sched)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/early.bpf.o: clusterd/bpf/early.bpf.c clusterd/bpf/early_map.h
	@mkdir -p $(@D)
	@echo "  CLANG   $<"
	$(Q)$(BPF_CC) -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -target bpf -Iclusterd \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

$(O)/clusterd/io/early_object.o: clusterd/io/early_object.S $(B)/early.bpf.o
	@mkdir -p $(@D)
	$(Q)$(CC) -DEARLY_OBJECT='"$(B)/early.bpf.o"' -c -o $@ $<

include tests/tests.mk

deps:
	@sh tests/deps.sh

# A configuration that exists is kept; DESTDIR (packages) leaves the running system alone.
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR) $(DESTDIR)$(PREFIX)/lib/sysusers.d \
		$(DESTDIR)$(PREFIX)/lib/tmpfiles.d $(addprefix $(DESTDIR)$(MANDIR)/man,5 7 8) \
		$(DESTDIR)$(PLUGINDIR) $(DESTDIR)$(INCLUDEDIR)/plug
	install -m 755 $(B)/clusterd $(B)/clusterctl $(DESTDIR)$(PREFIX)/sbin
	$(if $(PLUGINS_SO),install -m 644 $(PLUGINS_SO:%=$(B)/plugins/%.so) $(DESTDIR)$(PLUGINDIR))
	install -m 644 clusterd/plug/plugin.h $(DESTDIR)$(INCLUDEDIR)/plug
	sed 's|/usr/sbin/|$(PREFIX)/sbin/|g; s|/etc/clusterd|$(SYSCONFDIR)/clusterd|g' systemd/clusterd.service \
		> $(DESTDIR)$(UNITDIR)/clusterd.service
	chmod 644 $(DESTDIR)$(UNITDIR)/clusterd.service
	install -m 644 systemd/clusterd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/clusterd.conf
	install -m 644 systemd/clusterd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/clusterd.conf
	$(foreach m,$(MANPAGES),install -m 644 $(m) $(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(suffix $(m))) &&) :
	test -e $(DESTDIR)$(SYSCONFDIR)/clusterd.ini || install -m 644 etc/clusterd.ini $(DESTDIR)$(SYSCONFDIR)
ifeq ($(DESTDIR),)
	if command -v systemd-sysusers >/dev/null; then systemd-sysusers $(PREFIX)/lib/sysusers.d/clusterd.conf; fi
	if test -d /run/systemd/system; then systemctl daemon-reload; fi
endif

uninstall:
ifeq ($(DESTDIR),)
	if test -d /run/systemd/system; then systemctl disable --now clusterd.service || :; fi
endif
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,sbin/clusterd sbin/clusterctl lib/sysusers.d/clusterd.conf lib/tmpfiles.d/clusterd.conf) \
		$(DESTDIR)$(UNITDIR)/clusterd.service \
		$(PLUGINS_SO:%=$(DESTDIR)$(PLUGINDIR)/%.so) $(DESTDIR)$(INCLUDEDIR)/plug/plugin.h \
		$(foreach m,$(MANPAGES),$(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)))
	for d in $(DESTDIR)$(PLUGINDIR) $(DESTDIR)$(INCLUDEDIR)/plug $(DESTDIR)$(INCLUDEDIR); do \
		test ! -d $$d || rmdir --ignore-fail-on-non-empty $$d; done
	@echo "$(DESTDIR)$(SYSCONFDIR)/clusterd.ini and the group clusterd are kept"

clean:
	rm -rf build build-*

.PHONY: FORCE all plugins clean deps install uninstall
-include $(shell find $(B) -name '*.d' 2>/dev/null)
