// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A web site whose requests cost what their path says.  HTTP/1.0, one request per connection.
 *
 *   site PORT NAME COUNTS
 *       /file/BYTES         a page or an image of that size
 *       /work/US            so many microseconds of processor time
 *       /cgi/KIB/US/MS      a process of its own, as CGI: takes so much memory, works, and waits for
 *                           something else (a database) before it answers
 *       COUNTS is a file, mapped: three 64-bit numbers, the requests of these kinds that were answered.
 *
 * One process answers in turn, so a site that is out of processor time makes its clients wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX (4u << 20)

static volatile uint64_t *count;
static char body[BODY_MAX];
static const char *name;

static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void work(long us)
{
	int64_t end = cpu_us() + us;

	while (cpu_us() < end)
		for (volatile int i = 0; i < 2000; i++)
			;
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

static void answer(int fd, size_t size)
{
	char head[160];
	int n = snprintf(head, sizeof(head), "HTTP/1.0 200 OK\r\nX-Node: %s\r\nContent-Length: %zu\r\n\r\n",
			 name, size);

	send_all(fd, head, (size_t)n);
	send_all(fd, body, size);
}

static void cgi(int fd, long kib, long us, long ms)
{
	volatile char *memory = malloc((size_t)kib << 10);

	for (long i = 0; memory && i < kib << 10; i += 4096)
		memory[i] = 1;
	work(us);
	usleep((useconds_t)ms * 1000);
	answer(fd, 2048);
	_exit(0);
}

static void serve(int fd)
{
	long a = 0, b = 0, c = 0;
	char text[2048];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "GET /file/%ld", &a) == 1 && a >= 0 && (size_t)a <= BODY_MAX) {
		answer(fd, (size_t)a);
		count[0]++;
	} else if (sscanf(text, "GET /work/%ld", &a) == 1 && a >= 0) {
		work(a);
		answer(fd, 1024);
		count[1]++;
	} else if (sscanf(text, "GET /cgi/%ld/%ld/%ld", &a, &b, &c) == 3 && a >= 0 && b >= 0 && c >= 0) {
		count[2]++;
		if (fork() == 0)
			cgi(fd, a, b, c);
	} else {
		static const char bad[] = "HTTP/1.0 404 Not Found\r\n\r\n";

		send_all(fd, bad, sizeof(bad) - 1);
	}
}

static int listen_at(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 4096) < 0) {
		perror("site");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct timeval second = { .tv_sec = 1 };
	int fd, counts;

	if (argc != 4) {
		fprintf(stderr, "usage: site PORT NAME COUNTS\n");
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);
	name = argv[2];
	memset(body, 'x', sizeof(body));
	counts = open(argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (counts < 0 || ftruncate(counts, 24) < 0) {
		perror(argv[3]);
		return 1;
	}
	count = mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, counts, 0);
	if (count == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	fd = listen_at(atoi(argv[1]));
	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn < 0)
			continue;
		setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
		serve(conn);
		close(conn);
	}
}
