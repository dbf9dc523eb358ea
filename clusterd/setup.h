/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_SETUP_H
#define CLUSTERD_SETUP_H

/*
 * What a start changes on this machine, and how a stop puts it back: lock file, guard, VIPs,
 * multicast addresses, sysctls.  Everything that fails is logged here, with what to do about it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/msg.h"
#include "io/early.h"
#include "io/netif.h"
#include "io/rules.h"
#include "io/tunnel.h"

#define SETUP_DIR "/run/clusterd"

struct setup {
	int lock_fd;			/* -1: not locked */
	struct netif *netif;
	struct rules *rules;
	struct early *early;		/* NULL: no fast path */
	struct lease_table *lease;	/* whoever takes it over sets it to NULL */
	unsigned int n_vips;
	struct addr vip[SERVICES_MAX * VIPS_MAX];
	unsigned int n_tunnels;		/* peers that need devices: filled in before setup_begin() */
	struct tunnel_want tunnel[NODES_MAX];
	struct rules_peer by_tunnel[NODES_MAX][2];	/* by peer's id - 1: ipip, vxlan; id 0: none */
	bool tunnels_changed;		/* a device was made anew: the rules must be attached to it */
};

/*
 * Makes /run/clusterd and locks it for this process.  -EBUSY: another clusterd runs (logged with its
 * pid, unless 'quiet').
 */
int setup_lock(struct setup *s);

/*
 * This start's number: the time, but above every earlier one that is known.  '*same_config': the
 * last start that did not stop cleanly had that configuration too.
 */
int setup_incarnation(uint64_t config, uint64_t *incarnation, bool *same_config);

/*
 * Opens the list of changes, looks at the interfaces and makes the tunnels.  'afresh': first undo what
 * an earlier start has left.
 */
int setup_begin(struct setup *s, const struct rules_want *want, bool afresh);
/*
 * Opens 'rules' and 'lease', installs the guard, then adds VIPs and multicast addresses.  'want'
 * says which services on which interfaces and tunnels; 'want->early' whether to try the fast path, and
 * afterwards whether it is there.
 */
int setup_open(struct setup *s, struct rules_want *want);
/* Only opens 'rules' and the list of changes, for an undo of what a crashed clusterd has left. */
int setup_open_leftovers(struct setup *s);
/*
 * VIPs, multicast addresses and tunnels that somebody took away (an interface that was down) come
 * back.
 */
int setup_refresh(struct setup *s, const struct rules_want *want);
/*
 * The number of buckets or the hash has changed: the fast path anew, by 'want'.  false: it could not be
 * had again, 'want->early' is false now and the rules have to be installed once more.
 */
bool setup_renew_early(struct setup *s, struct rules_want *want);
/* How peers reach us on 'interface'.  0 or -errno, not logged. */
int setup_link(struct setup *s, const char *interface, struct link *link);

/*
 * Puts everything back and removes the lock file, the tables last.  When something cannot be put
 * back the guard stays, so that this node stays silent for the VIPs.  0 or -errno.
 */
int setup_undo(struct setup *s);

#endif
