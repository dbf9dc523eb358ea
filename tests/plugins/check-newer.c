/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it is from a later clusterd. */
#include "bad.h"

DESCRIPTOR(.name = "newer", .size = sizeof(struct clusterd_plugin) + 8);
