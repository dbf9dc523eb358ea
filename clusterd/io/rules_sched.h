/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_SCHED_H
#define CLUSTERD_IO_RULES_SCHED_H

/* What rules_sched.c (the flow maps' rules) and rules_flows.c (their contents) agree on. */

#define RULES_FLOWS_MAX   262144u	/* entries of a flow map */
#define RULES_FLOW_NEW_MS 60000u	/* nothing but a SYN so far, or one datagram */
#define RULES_FLOW_TCP_MS 3600000u	/* since the last packet */
#define RULES_FLOW_UDP_MS 180000u

/*
 * Key: client, its port, VIP, its port, protocol, each padded to a multiple of 4 bytes, in network
 * order; data: the node id, in this machine's order.
 */
#define RULES_FLOW_KEY4   20u
#define RULES_FLOW_KEY6   44u

#endif
