# SPDX-License-Identifier: GPL-2.0-or-later
# The tests that Debian's stock kernel runs, in an emulator; STOCK=words takes those stages only
# whose names hold one of the words.  'stock' is check-stock without installing anything.
STOCK_PROGRAMS := $(foreach t,rules handed stack queue early netif tunnel announce group probe sockets,$(B)/tests/$(t)_kernel)

check-stock: deps stock

stock: all $(STOCK_PROGRAMS)
	@tests/stock/fetch.sh
	@BUILD=$(B) tests/stock/run.py $(STOCK)

.PHONY: check-stock stock
