/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: its kind does not exist. */
#include "bad.h"

DESCRIPTOR(.name = "alien", .kind = (enum clusterd_kind)77);
