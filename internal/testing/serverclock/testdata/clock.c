// What a server is given to preload so that a test can set its clock: the
// wall clock, which it asks with gettimeofday, is ahead by as many microseconds
// as the file says that is named in SERVER_CLOCK. Its other clocks are right.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void map_file(void) {
	const char *name = getenv("SERVER_CLOCK");
	int file = name ? open(name, O_RDONLY) : -1;
	if (file < 0)
		return;
	void *at = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
	if (at != MAP_FAILED)
		ahead = at;
	close(file);
}

int gettimeofday(struct timeval *tv, void *zone) {
	struct timespec now;
	(void)zone;
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	int64_t micros = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 + (ahead ? *ahead : 0);
	tv->tv_sec = micros / 1000000;
	tv->tv_usec = micros % 1000000;
	return 0;
}
