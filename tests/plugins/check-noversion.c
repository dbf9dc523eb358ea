/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: nobody could tell which one it is. */
#include "bad.h"

DESCRIPTOR(.name = "noversion", .version = "");
