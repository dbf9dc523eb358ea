/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it decides nothing. */
#include "plug/plugin.h"

static const struct clusterd_policy_ops ops = { .interval_ms = 1000 };

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI, .size = sizeof(struct clusterd_plugin), .kind = CLUSTERD_POLICY,
	.name = "nofactors", .version = "1", .summary = "refused", .policy = &ops,
};
