// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/table.h"

#include <string.h>

const struct ctl_cmd ctl_cmds[CMDS_N] = {
#define X(id, name, args, min, max, flags, help) \
	[CMD_##id] = { CMD_##id, name, args, help, min, max, flags },
	CTL_COMMANDS(X)
#undef X
};

const struct ctl_cmd *ctl_cmd_find(const char *name, bool prefix, unsigned int *n)
{
	const struct ctl_cmd *found = NULL;
	unsigned int i, count = 0;
	size_t len = strlen(name);

	for (i = 0; i < CMDS_N; i++) {
		if (!strcmp(ctl_cmds[i].name, name)) {
			found = &ctl_cmds[i];
			count = 1;
			break;
		}
		if (prefix && !strncmp(ctl_cmds[i].name, name, len)) {
			found = &ctl_cmds[i];
			count++;
		}
	}
	if (n)
		*n = count;
	return count == 1 ? found : NULL;
}
