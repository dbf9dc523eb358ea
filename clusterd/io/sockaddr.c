// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/sockaddr.h"

#include <arpa/inet.h>
#include <string.h>

socklen_t sockaddr_from(const struct addr *a, uint16_t port, unsigned int scope,
			union sockaddr_any *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET) {
		out->in.sin_family = AF_INET;
		out->in.sin_port = htons(port);
		memcpy(&out->in.sin_addr, a->b, 4);
		return sizeof(out->in);
	}
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_port = htons(port);
	memcpy(&out->in6.sin6_addr, a->b, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&out->in6.sin6_addr))
		out->in6.sin6_scope_id = scope;
	return sizeof(out->in6);
}

bool sockaddr_is(const union sockaddr_any *from, const struct addr *a)
{
	if (from->sa.sa_family != a->family)
		return false;
	if (a->family == AF_INET)
		return !memcmp(&from->in.sin_addr, a->b, 4);
	return !memcmp(&from->in6.sin6_addr, a->b, 16);
}
