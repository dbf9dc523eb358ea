/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it is no check. */
#include "bad.h"

DESCRIPTOR(.name = "kind", .kind = CLUSTERD_MONITOR);
