// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/sorry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <microhttpd.h>

#define TIMEOUT_S   5u		/* of a connection that says nothing */
#define MEMORY      8192u	/* bytes per connection: a request's headers must fit */
#define RETRY_AFTER "10"

struct sorry {
	struct MHD_Daemon *daemon[2];	/* IPv4, IPv6 */
	pthread_mutex_t lock;		/* of the list: two threads read it */
	unsigned int n;
	struct { struct sorry_target t; char *url; } target[SORRY_TARGETS_MAX];
	_Atomic uint64_t answered;
};

/* Where the client meant to go, before the rules sent it here.  False: it meant us. */
static bool original(int fd, struct addr *vip, uint16_t *port)
{
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; } u;
	struct sockaddr_storage local;
	socklen_t size = sizeof(u), local_size = sizeof(local);

	memset(vip, 0, sizeof(*vip));
	if (getsockname(fd, (struct sockaddr *)&local, &local_size) < 0)
		return false;
	if (local.ss_family == AF_INET) {
		if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &u, &size) < 0)
			return false;
		vip->family = AF_INET;
		memcpy(vip->b, &u.in.sin_addr, 4);
		*port = ntohs(u.in.sin_port);
	} else {
		if (getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, &u, &size) < 0)
			return false;
		vip->family = AF_INET6;
		memcpy(vip->b, &u.in6.sin6_addr, 16);
		*port = ntohs(u.in6.sin6_port);
	}
	return true;
}

/* A copy of the URL, or NULL. */
static char *url_of(struct sorry *s, int fd)
{
	struct addr vip;
	uint16_t port;
	char *url = NULL;

	if (!original(fd, &vip, &port))
		return NULL;
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < s->n && !url; i++) {
		const struct sorry_target *t = &s->target[i].t;

		if (!addr_cmp(&t->vip, &vip) && port >= t->lo && port <= t->hi)
			url = strdup(s->target[i].url);
	}
	pthread_mutex_unlock(&s->lock);
	return url;
}

static struct MHD_Response *page(const char *url)
{
	static const char text[] = "This service is not available at the moment.\n";
	struct MHD_Response *r = MHD_create_response_from_buffer(sizeof(text) - 1, (void *)text,
								 MHD_RESPMEM_PERSISTENT);

	if (!r)
		return NULL;
	MHD_add_response_header(r, "Content-Type", "text/plain; charset=utf-8");
	MHD_add_response_header(r, "Cache-Control", "no-store");
	MHD_add_response_header(r, "Retry-After", RETRY_AFTER);
	MHD_add_response_header(r, "Connection", "close");
	if (url)
		MHD_add_response_header(r, "Location", url);
	return r;
}

/* Called for the head of a request, then for pieces of its body: answered when that has been read. */
static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *path, const char *method,
			      const char *version, const char *data, size_t *size, void **state)
{
	static int seen;
	const union MHD_ConnectionInfo *info;
	struct sorry *s = arg;
	struct MHD_Response *r;
	enum MHD_Result result;
	char *url;

	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	url = info ? url_of(s, info->connect_fd) : NULL;
	r = page(url);
	result = r ? MHD_queue_response(c, url ? MHD_HTTP_FOUND : MHD_HTTP_SERVICE_UNAVAILABLE, r) : MHD_NO;
	if (r)
		MHD_destroy_response(r);
	free(url);
	atomic_fetch_add(&s->answered, 1);
	return result;
}

static struct MHD_Daemon *listen_on(struct sorry *s, uint16_t port, bool v6)
{
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | (v6 ? MHD_USE_IPv6 : 0);

	return MHD_start_daemon(flags, port, NULL, NULL, answer, s,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned int)SORRY_MAX_CONNECTIONS,
				MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_END);
}

int sorry_open(struct sorry **out, uint16_t port, const char **why)
{
	struct sorry *s = calloc(1, sizeof(*s));

	*out = NULL;
	*why = "no memory";
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		errno = 0;
		s->daemon[v6] = listen_on(s, port, v6);
		if (!s->daemon[v6] && !(v6 && errno == EAFNOSUPPORT)) {
			int err = errno ? -errno : -EADDRINUSE;

			*why = "cannot listen (is sorry_port in use?)";
			sorry_close(s);
			return err;
		}
	}
	*out = s;
	return 0;
}

static void forget(struct sorry *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		free(s->target[i].url);
	s->n = 0;
}

void sorry_close(struct sorry *s)
{
	if (!s)
		return;
	for (unsigned int v6 = 0; v6 < 2; v6++)
		if (s->daemon[v6])
			MHD_stop_daemon(s->daemon[v6]);
	forget(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int sorry_set(struct sorry *s, const struct sorry_target *target, unsigned int n)
{
	int err = 0;

	if (n > SORRY_TARGETS_MAX)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	forget(s);
	for (unsigned int i = 0; i < n && !err; i++) {
		s->target[i].t = target[i];
		s->target[i].t.url = NULL;
		s->target[i].url = strdup(target[i].url);
		if (s->target[i].url)
			s->n++;
		else
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

uint64_t sorry_answered(const struct sorry *s)
{
	return atomic_load(&((struct sorry *)s)->answered);
}
