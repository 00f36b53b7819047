/*
 * LD_PRELOAD: what pcap_activate() of libpcap 1.10.5 and later returns where promiscuous mode was asked for on the "any"
 * device. Earlier ones forget this warning.
 */
#include <dlfcn.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

static int is_any;
static int is_promiscuous;

pcap_t *pcap_create(const char *device, char *errors) {
  pcap_t *(*create)(const char *, char *) = dlsym(RTLD_NEXT, "pcap_create");
  is_any = device == NULL || strcmp(device, "any") == 0;
  is_promiscuous = 0;
  return create(device, errors);
}

int pcap_set_promisc(pcap_t *pcap, int promiscuous) {
  int (*set_promisc)(pcap_t *, int) = dlsym(RTLD_NEXT, "pcap_set_promisc");
  is_promiscuous = promiscuous;
  return set_promisc(pcap, promiscuous);
}

int pcap_activate(pcap_t *pcap) {
  int (*activate)(pcap_t *) = dlsym(RTLD_NEXT, "pcap_activate");
  int status = activate(pcap);
  if (status < 0 || !is_any || !is_promiscuous)
    return status;
  snprintf(pcap_geterr(pcap), PCAP_ERRBUF_SIZE, "Promiscuous mode not supported on the \"any\" device");
  return PCAP_WARNING_PROMISC_NOTSUP;
}
