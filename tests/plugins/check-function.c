/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: what it exports is a function. */
int clusterd_plugin(void);
__attribute__((visibility("default"))) int clusterd_plugin(void)
{
	return 0;
}
