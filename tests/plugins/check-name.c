/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: its file is named otherwise. */
#include "bad.h"

DESCRIPTOR(.name = "eman");
