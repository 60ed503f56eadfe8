/* The link: carries IP packets between two TUN devices in two network namespaces, as `path.c` says.
 *
 *     wan_link ADDRESS_A ADDRESS_B SEED
 *
 * It makes both, and they go when it and all that entered them have ended. It prints {"ready":true,
 * "a":N,"b":N,...}; one enters through /proc/PID/fd/N. Then it answers each line of its standard
 * input with one line of JSON:
 *     set a|b NAME=VALUE ...   the path from A to B (a) or back (b); what is not named is 0
 *     reset                    forget what was counted
 *     stats                    what was counted since
 * It ends when its standard input does. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "path.h"
#include "room.h"
#include "tally.h"

enum { PACKET = 2048, READS = 64, IN_FLIGHT = 1 << 17, MTU = 1500, PRIORITY = 10 };

struct packet {
    int64_t release_ns;
    uint64_t number; /* of two with the same time, the first goes first */
    struct packet *next_free;
    int bytes;
    uint8_t content[PACKET];
};

struct direction {
    const char *name;
    int from, to;
    struct path path;
    struct tally tally;
    struct packet **heap;
    int waiting;
    uint64_t numbers;
};

static struct packet *free_packets;
static struct direction directions[2];
static struct room rooms[2];

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
    va_list rest;
    fputs("{\"error\":\"", stdout);
    va_start(rest, format);
    vprintf(format, rest);
    va_end(rest);
    puts("\"}");
    fflush(stdout);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* ---- packets in flight: a heap by time of release ---- */

static int is_before(const struct packet *a, const struct packet *b)
{
    if (a->release_ns != b->release_ns)
        return a->release_ns < b->release_ns;
    return a->number < b->number;
}

static void push(struct direction *way, struct packet *packet)
{
    int at = way->waiting++;
    while (at && is_before(packet, way->heap[(at - 1) / 2])) {
        way->heap[at] = way->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    way->heap[at] = packet;
}

static struct packet *pop(struct direction *way)
{
    struct packet *first = way->heap[0], *moved = way->heap[--way->waiting];
    int at = 0, child;
    while ((child = 2 * at + 1) < way->waiting) {
        if (child + 1 < way->waiting && is_before(way->heap[child + 1], way->heap[child]))
            child++;
        if (!is_before(way->heap[child], moved))
            break;
        way->heap[at] = way->heap[child];
        at = child;
    }
    way->heap[at] = moved;
    return first;
}

static struct packet *take_free(void)
{
    struct packet *packet = free_packets;
    if (packet) {
        free_packets = packet->next_free;
        return packet;
    }
    packet = malloc(sizeof *packet);
    if (!packet)
        fail("out of memory");
    return packet;
}

static void give_back(struct packet *packet)
{
    packet->next_free = free_packets;
    free_packets = packet;
}

/* ---- one packet ---- */

static void mark_ce(uint8_t *packet)
{
    int head = (packet[0] & 15) * 4;
    uint32_t sum = 0;
    if (!(packet[1] & 3))
        return;
    packet[1] |= 3;
    packet[10] = packet[11] = 0;
    for (int at = 0; at < head; at += 2)
        sum += (uint32_t)(packet[at] << 8 | packet[at + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffff;
    packet[10] = (uint8_t)(sum >> 8);
    packet[11] = (uint8_t)sum;
}

static void admit(struct direction *way, struct packet *packet, int64_t now)
{
    struct verdict verdict;
    struct flow *flow;
    if (packet->bytes < 20 || packet->content[0] >> 4 != 4) {
        way->tally.not_ipv4++;
        give_back(packet);
        return;
    }
    path_admit(&way->path, now, packet->bytes, &verdict);
    verdict.mark = verdict.mark && packet->content[1] & 3;
    flow = tally_flow(&way->tally, packet->content, packet->bytes);
    tally_packet(&way->tally.all, now, packet->bytes, &verdict);
    if (flow)
        tally_packet(&flow->counts, now, packet->bytes, &verdict);
    if (verdict.fate == PASSED && way->waiting + 2 > IN_FLIGHT) {
        way->tally.overflow++;
        verdict.fate = QUEUE_FULL;
    }
    if (verdict.fate != PASSED) {
        give_back(packet);
        return;
    }
    if (verdict.mark)
        mark_ce(packet->content);
    packet->release_ns = verdict.release_ns;
    packet->number = way->numbers++;
    if (verdict.copies > 1) {
        struct packet *copy = take_free();
        memcpy(copy, packet, offsetof(struct packet, content) + (size_t)packet->bytes);
        copy->number = way->numbers++;
        push(way, copy);
    }
    push(way, packet);
}

static void take_in(struct direction *way)
{
    for (int n = 0; n < READS; n++) {
        struct packet *packet = take_free();
        ssize_t got = read(way->from, packet->content, PACKET);
        if (got <= 0) {
            give_back(packet);
            return;
        }
        packet->bytes = (int)got;
        admit(way, packet, now_ns());
    }
}

static void let_out(struct direction *way)
{
    while (way->waiting) {
        int64_t now = now_ns();
        struct packet *packet = way->heap[0];
        if (packet->release_ns > now)
            return;
        pop(way);
        if (write(way->to, packet->content, (size_t)packet->bytes) != packet->bytes)
            way->tally.refused++;
        histogram_add(&way->tally.lateness, now - packet->release_ns);
        give_back(packet);
    }
}

/* ---- the conversation on standard input and output ---- */

static void set(char *words)
{
    static const struct {
        const char *name;
        size_t at;
        int is_share;
    } names[] = {
#define WHOLE(name) {#name, offsetof(struct path_settings, name), 0}
#define SHARE(name) {#name, offsetof(struct path_settings, name), 1}
        WHOLE(delay_ns), WHOLE(jitter_ns), WHOLE(keep_order),  SHARE(loss),
        WHOLE(burst),    WHOLE(geometric), WHOLE(rate_bps),    WHOLE(queue_bytes),
        WHOLE(ce_bytes), WHOLE(police_bps), WHOLE(police_bytes), SHARE(reorder),
        WHOLE(reorder_ns), SHARE(duplicate),
    };
    struct path_settings settings;
    char *word = strtok(words, " ");
    struct direction *way = NULL;
    memset(&settings, 0, sizeof settings);
    for (int n = 0; word && n < 2; n++)
        if (!strcmp(word, directions[n].name))
            way = &directions[n];
    if (!way)
        fail("set needs a direction, a or b");
    while ((word = strtok(NULL, " "))) {
        char *value = strchr(word, '=');
        size_t n = 0, count = sizeof names / sizeof *names;
        if (!value)
            fail("%s has no value", word);
        *value++ = 0;
        while (n < count && strcmp(names[n].name, word))
            n++;
        if (n == count)
            fail("a path has no %s", word);
        if (names[n].is_share) {
            double is = strtod(value, NULL);
            memcpy((char *)&settings + names[n].at, &is, sizeof is);
        } else {
            int64_t is = strtoll(value, NULL, 10);
            memcpy((char *)&settings + names[n].at, &is, sizeof is);
        }
    }
    path_set(&way->path, &settings);
    puts("{\"ok\":true}");
}

static void print_stats(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"devices_dropped\":%" PRId64 ",\"cpu_s\":%.3f,\"a\":",
           room_dropped(&rooms[0]) + room_dropped(&rooms[1]),
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    tally_print(&directions[0].tally, stdout);
    printf(",\"b\":");
    tally_print(&directions[1].tally, stdout);
    puts("}");
}

static void obey(char *line)
{
    if (!strncmp(line, "set ", 4)) {
        set(line + 4);
    } else if (!strcmp(line, "reset")) {
        for (int n = 0; n < 2; n++)
            memset(&directions[n].tally, 0, sizeof directions[n].tally);
        puts("{\"ok\":true}");
    } else if (!strcmp(line, "stats")) {
        print_stats();
    } else {
        fail("nothing is called %.40s", line);
    }
    fflush(stdout);
}

/* Returns 0 at the end of the input. */
static int hear(void)
{
    static char heard[4096];
    static size_t length;
    ssize_t got = read(0, heard + length, sizeof heard - 1 - length);
    char *end;
    if (got <= 0)
        return 0;
    length += (size_t)got;
    while ((end = memchr(heard, '\n', length))) {
        *end = 0;
        obey(heard);
        length -= (size_t)(end + 1 - heard);
        memmove(heard, end + 1, length);
    }
    if (length == sizeof heard - 1)
        fail("a line is too long");
    return 1;
}

/* ---- beginning ---- */

static void wait_for_next(struct pollfd *ready)
{
    int64_t due = INT64_MAX, left;
    struct timespec patience;
    for (int n = 0; n < 2; n++)
        if (directions[n].waiting && directions[n].heap[0]->release_ns < due)
            due = directions[n].heap[0]->release_ns;
    left = due == INT64_MAX ? 0 : due - now_ns();
    if (left < 0)
        left = 0;
    patience.tv_sec = left / 1000000000;
    patience.tv_nsec = left % 1000000000;
    if (ppoll(ready, 3, due == INT64_MAX ? NULL : &patience, NULL) < 0 && errno != EINTR)
        fail("ppoll: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct sched_param urgent = {.sched_priority = PRIORITY};
    struct pollfd ready[3];
    uint64_t seed;
    int is_urgent;
    if (argc != 4) {
        fputs("usage: wan_link ADDRESS_A ADDRESS_B SEED\n", stderr);
        return 2;
    }
    for (int n = 0; n < 2; n++) {
        const char *what;
        if (room_open(&rooms[n], argv[n + 1], argv[2 - n], MTU, &what))
            fail("%s: %s", what, strerror(errno));
    }
    seed = strtoull(argv[3], NULL, 10);
    directions[0] = (struct direction){.name = "a", .from = rooms[0].tun, .to = rooms[1].tun};
    directions[1] = (struct direction){.name = "b", .from = rooms[1].tun, .to = rooms[0].tun};
    for (int n = 0; n < 2; n++) {
        path_start(&directions[n].path, seed * 2 + (uint64_t)n);
        directions[n].heap = malloc(IN_FLIGHT * sizeof *directions[n].heap);
        if (!directions[n].heap)
            fail("out of memory");
    }
    /* An interrupt of the terminal reaches every process; whoever started this one ends it. */
    signal(SIGINT, SIG_IGN);
    /* A link that waits for its turn on a core adds delay that nobody asked for. */
    is_urgent = !sched_setscheduler(0, SCHED_FIFO, &urgent);
    prctl(PR_SET_TIMERSLACK, 1);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    printf("{\"ready\":true,\"realtime\":%s,\"a\":%d,\"b\":%d}\n", is_urgent ? "true" : "false",
           rooms[0].namespace, rooms[1].namespace);
    fflush(stdout);
    ready[0] = (struct pollfd){.fd = rooms[0].tun, .events = POLLIN};
    ready[1] = (struct pollfd){.fd = rooms[1].tun, .events = POLLIN};
    ready[2] = (struct pollfd){.fd = 0, .events = POLLIN};
    for (;;) {
        wait_for_next(ready);
        for (int n = 0; n < 2; n++) {
            if (ready[n].revents)
                take_in(&directions[n]);
            let_out(&directions[n]);
        }
        if (ready[2].revents && !hear())
            return 0;
    }
}
