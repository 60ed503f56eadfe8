/* What the link counts: per direction, and per flow (protocol and ports). */
#ifndef BENCH_LINK_TALLY_H
#define BENCH_LINK_TALLY_H

#include <stdint.h>
#include <stdio.h>

#include "path.h"

/* Durations in buckets of at most 1.6 %: 64 steps to each doubling, from 1 us to over an hour. */
enum { STEPS = 64, BUCKETS = STEPS * 28, FLOWS = 64 };

struct histogram {
    uint64_t count, sum_ns, max_ns;
    uint32_t buckets[BUCKETS];
};

struct counts {
    uint64_t packets, bytes;                     /* that came to the link */
    uint64_t delivered_packets, delivered_bytes; /* that it passed on, copies included */
    uint64_t lost, queue_full, policed, marked, late, doubled;
    uint64_t largest;
    int64_t first_ns, last_ns;
    struct histogram queue; /* of packets that were not dropped at the door */
};

struct flow {
    uint8_t protocol;
    uint16_t source, target;
    struct counts counts;
};

struct tally {
    struct counts all;
    struct flow flows[FLOWS];
    int flow_count;
    uint64_t unfollowed;        /* packets of flows beyond FLOWS */
    uint64_t not_ipv4;          /* dropped unseen */
    uint64_t overflow;          /* dropped because the link itself ran out of room: the run is void */
    uint64_t refused;           /* writes that the kernel refused: likewise */
    struct histogram lateness;  /* how much later than due the link let packets out */
};

void histogram_add(struct histogram *histogram, int64_t ns);
struct flow *tally_flow(struct tally *tally, const uint8_t *packet, int64_t bytes);
void tally_packet(struct counts *counts, int64_t now_ns, int64_t bytes, const struct verdict *seen);
void tally_print(const struct tally *tally, FILE *to);

#endif
