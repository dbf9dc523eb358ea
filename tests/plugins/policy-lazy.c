/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it would be asked all the time. */
#include "plug/plugin.h"

static void factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
}

static const struct clusterd_policy_ops ops = { .factors = factors, .interval_ms = 0 };

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI, .size = sizeof(struct clusterd_plugin), .kind = CLUSTERD_POLICY,
	.name = "lazy", .version = "1", .summary = "refused", .policy = &ops,
};
