/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_WIRE_MSG_H
#define CLUSTERD_WIRE_MSG_H

/*
 * Messages of the group (core/msg.h) <-> bytes.  All integers in network order, no padding:
 *
 *   offset size
 *    0     4    magic "CDGM"
 *    4     1    protocol version, MSG_VERSION
 *    5     1    type
 *    6     1    from
 *    7     1    reserved: 0
 *    8     4    hash of the cluster's name: jhash, seed = magic
 *   12     8    incarnation of the sender
 *   20     *    body, by type:
 *
 *     ROUND       round 4
 *     STATE       round 4, epoch 8, digest 8, lineage 8, config 8, dead 8, primary 1
 *     SNAP        round 4, index 4, offset 4, total 4, size 4, data
 *     READY       config 8, weight 2, hold_back 1, slow 1, n_links 1, then per link:
 *                 MAC 6, IPv4: kind 1 (0 none, 4) and 4 bytes if any, IPv6: kind 1 (0, 6) and 16,
 *                 health 1
 *     FAIL        node 1, kind 1, term 4
 *     BYE, PLAN   nothing
 *     ACK, LEFT, ADOPTED   plan 8
 *     DRAINED     service 1, forced 1, epoch 8, size 4, bitmap
 *     GRACE_END   node 1
 *     ORDER       type 1, node 1, value 2
 *     CLEAR_REQ, CLEAR_ACK   by 1, node 1, term 4, gen 4
 *     DIGEST      epoch 8, digest 8
 *     LAYOUT      buckets 4, hash of each service 16 (SERVICES_MAX; 0 beyond the last)
 *     UNMIXED     rehash 8, forced 1
 *     LOAD        load 2, cpu_idle 2, mem_free_kb 4, blocked 2, swapping 2, n 1, then for each of the
 *                 first n services: conns 4, kbps 4 (of the n-th one is not 0; all later ones are)
 *     REWEIGH     service 1, n 1, then per node, ids ascending:
 *                 node 1, load 2, cpu_idle 2, blocked 2, swapping 2, mem_free_kb 4, conns 4
 *     IDLE        service 1, epoch 8, size 4, bitmap
 *     HEALTH      service 1, node 1, health 1
 *
 * Magic and version keep their place in every version to come; everything else may move.
 * The hash only tells a wrong configuration; who may send at all is for corosync's key to say.
 */

#include <stddef.h>

#include "core/msg.h"

#define SNAP_TOTAL_MAX (UINT32_C(16) << 20)	/* bytes of a whole snapshot */

/*
 * Writes 'm' into 'buf' and returns the bytes used; MSG_SIZE_MAX always suffice.  0: does not fit,
 * or 'm' has values that msg_decode() would refuse.
 */
size_t msg_encode(const struct msg *m, const char *cluster, void *buf, size_t size);

/*
 * 0: '*m' is what a node of 'cluster' sent; u.snap.data, u.drained.bitmap and u.idle.bitmap point into 'buf'.
 * Whether 'from' is who the transport says is for the caller to check.  Else '*m' is untouched:
 * -EBADMSG garbled, truncated, too long, or values out of range;
 * -EPROTO  another protocol version;
 * -EXDEV   another cluster's.
 */
int msg_decode(struct msg *m, const char *cluster, const void *buf, size_t size);

#endif
