# SPDX-License-Identifier: GPL-2.0-or-later
# sudo make experiments    measures beside the papers; EXPERIMENT="--only growth,feedback --quick" passes options on

EXPERIMENT_PROGRAMS = $(addprefix $(B)/tests/experiment_,site clients)

$(EXPERIMENT_PROGRAMS): $(B)/tests/experiment_%: $(O)/tests/experiments/%.o
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lm

experiments: deps all $(EXPERIMENT_PROGRAMS)
	@BUILD=$(B) /usr/bin/python3 tests/experiments/experiments.py $(EXPERIMENT)

.PHONY: experiments
