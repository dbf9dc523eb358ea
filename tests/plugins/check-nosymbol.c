/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it exports no descriptor. */
int clusterd_plugout;
