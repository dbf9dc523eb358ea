/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it has no name. */
#include "bad.h"

DESCRIPTOR(.name = NULL);
