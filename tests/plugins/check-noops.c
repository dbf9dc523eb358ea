/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it has no callbacks. */
#include "bad.h"

DESCRIPTOR(.name = "noops", .observer = NULL);
