/* One direction of the link: what becomes of each packet, and when. Knows no sockets and no clock:
 * the caller says what time it is, so that tests can. Times in ns, sizes in bytes of IP packets.
 *
 * A packet meets, in this order: the policer, the queue in front of the rate, loss, duplication,
 * then delay with jitter and lateness. Loss comes after the rate: what is lost has used it up. */
#ifndef BENCH_LINK_PATH_H
#define BENCH_LINK_PATH_H

#include <stdint.h>

struct path_settings {
    int64_t delay_ns;     /* one way */
    int64_t jitter_ns;    /* up to so much more, evenly distributed */
    int64_t keep_order;   /* jitter lets nothing overtake */
    double loss;          /* share of packets */
    int64_t burst;        /* 0: each by itself; n: in bursts of n consecutive packets */
    int64_t geometric;    /* n is the mean of a geometric distribution, not every burst's length */
    int64_t rate_bps;     /* 0: unlimited */
    int64_t queue_bytes;  /* what may wait; beyond it a packet is dropped */
    int64_t ce_bytes;     /* a packet that finds more waiting is marked; 0: none is */
    int64_t police_bps;   /* 0: no policer */
    int64_t police_bytes; /* depth of its bucket */
    double reorder;       /* share of packets that are late */
    int64_t reorder_ns;   /* by so much */
    double duplicate;     /* share of packets that come twice */
};

enum fate { PASSED = 0, LOST = 1, QUEUE_FULL = 2, POLICED = 3 };

struct verdict {
    int64_t fate;
    int64_t copies;     /* 1 or 2 when it passed */
    int64_t mark;       /* set CE, if the packet allows it */
    int64_t late;       /* it is one of those that come late */
    int64_t queue_ns;   /* how long it waited for those before it; 0 when dropped at the door */
    int64_t release_ns; /* when it comes out */
};

struct random {
    uint64_t state;
};

struct path {
    struct path_settings settings;
    /* One generator per decision: turning one knob leaves the others' sequences as they were. */
    struct random losing, delaying, reordering, doubling;
    int64_t busy_until_ns, last_release_ns;
    int64_t burst_left, was_in_burst;
    double tokens;
    int64_t tokens_at_ns;
};

void path_start(struct path *path, uint64_t seed);
void path_set(struct path *path, const struct path_settings *settings);
void path_admit(struct path *path, int64_t now_ns, int64_t bytes, struct verdict *out);

#endif
