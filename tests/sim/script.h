/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

/* The words that scenarios are written in. */

#include "sim.h"

#define REHASH_KEYS 256	/* clients, where the layout changes */
#define SLACK (60 * MS)
#define GROUP_TIME(s) (2 * ((s)->p.token + (s)->p.consensus) + 4 * SEC)

struct node *nd(struct sim *s, unsigned int i);
unsigned int pick(struct sim *s);
unsigned int pick_other(struct sim *s, unsigned int than);
void quiet_defaults(struct sim *s, unsigned int nodes);
void rough_network(struct sim *s);
void build(struct sim *s);
void power_on_all(struct sim *s, int64_t spread);
void settle(struct sim *s, int64_t limit);
void boot(struct sim *s);
void heal(struct sim *s);
void all_flows(struct sim *s, enum flow_rule rule);
void watch_planned(struct sim *s);
void watch_loss(struct sim *s, uint64_t victims);
void order(struct sim *s, enum order_type type, unsigned int node, uint16_t value);
void stop_clean(struct sim *s, struct node *n);
void remember_owners(struct sim *s, uint8_t owner[SIM_SERVICES][SIM_BUCKETS]);
void check_moves(struct sim *s, uint8_t before[SIM_SERVICES][SIM_BUCKETS], unsigned int node, bool gone);
void fault(struct sim *s, unsigned int victim, unsigned int kind);

/* rehash.c */
void sc_rehash(struct sim *s, unsigned int nodes);
void sc_rehash_crash(struct sim *s, unsigned int nodes);
void sc_rehash_loss(struct sim *s, unsigned int nodes);
/* weigh.c */
void sc_load_step(struct sim *s, unsigned int nodes);
void sc_load_ramp(struct sim *s, unsigned int nodes);
void sc_load_noisy(struct sim *s, unsigned int nodes);
void sc_load_sick(struct sim *s, unsigned int nodes);
void sc_load_half(struct sim *s, unsigned int nodes);
void sc_health(struct sim *s, unsigned int nodes);
void sc_sorry(struct sim *s, unsigned int nodes);
void sc_peer(struct sim *s, unsigned int nodes);
void sc_slow_start(struct sim *s, unsigned int nodes);
void sc_never_busy(struct sim *s, unsigned int nodes);
void sc_weigh_random(struct sim *s, unsigned int nodes);
/* scenario.c: one fault, or what repairs one. */
void random_fault(struct sim *s);

/* The operator changes the layout somewhere, without a draw from the seed's numbers. */
void random_reload(struct sim *s);

#endif
