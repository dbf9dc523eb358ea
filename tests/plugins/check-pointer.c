/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: what it exports is a pointer. */
extern const void *clusterd_plugin;
__attribute__((visibility("default"))) const void *clusterd_plugin = &clusterd_plugin;
