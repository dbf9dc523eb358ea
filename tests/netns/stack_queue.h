/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_STACK_QUEUE_H
#define TESTS_STACK_QUEUE_H

/* A listener of NFQUEUEs that answers as it is told: no part of clusterd. */

#include <stdbool.h>
#include <stdint.h>

struct stack_queue;

/* Queues first .. first + n - 1 of the current network namespace; NULL: refused. */
struct stack_queue *stack_queue_open(uint16_t first, uint16_t n);
void stack_queue_close(struct stack_queue *q);

/*
 * Waits up to 'ms' for one packet, lets it go on with 'mark'; '*had' is the mark that it came with.
 * False: none came.
 */
bool stack_queue_answer(struct stack_queue *q, uint32_t mark, int ms, uint32_t *had);

#endif
