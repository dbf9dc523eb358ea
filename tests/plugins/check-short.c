/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: its descriptor lacks members. */
#include "bad.h"

DESCRIPTOR(.name = "short", .size = 16);
