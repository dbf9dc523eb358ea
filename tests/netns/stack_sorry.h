/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_STACK_SORRY_H
#define TESTS_STACK_SORRY_H

/* Part of stack_kernel.c: what new connections get of a service that no node is fit for. */

void check_sorry(int family);

#endif
