/*
 * LD_PRELOAD: the system's clock, and the time stamps of captured packets, as if somebody had set the clock: later by
 * the seconds that the file named by CLOCK_SHIFT holds, eight octets. The clock of the machine itself stays as it is.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t zero;
static volatile int64_t *shift = &zero;

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("CLOCK_SHIFT");
  int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
  if (fd == -1)
    return;
  void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED)
    shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int status = (int)syscall(SYS_clock_gettime, clock, time);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    time->tv_sec += *shift;
  return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec time;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

struct handler {
  pcap_handler call;
  u_char *user;
};

static void handle(u_char *user, const struct pcap_pkthdr *header, const u_char *bytes) {
  const struct handler *handler = (const struct handler *)user;
  struct pcap_pkthdr shifted = *header;
  shifted.ts.tv_sec += *shift;
  handler->call(handler->user, &shifted, bytes);
}

int pcap_dispatch(pcap_t *pcap, int count, pcap_handler call, u_char *user) {
  int (*dispatch)(pcap_t *, int, pcap_handler, u_char *) = dlsym(RTLD_NEXT, "pcap_dispatch");
  struct handler handler = {call, user};
  return dispatch(pcap, count, handle, (u_char *)&handler);
}
