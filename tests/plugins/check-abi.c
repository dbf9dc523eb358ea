/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: its interface is another one. */
#include "bad.h"

DESCRIPTOR(.name = "abi", .abi = CLUSTERD_PLUGIN_ABI + 1);
