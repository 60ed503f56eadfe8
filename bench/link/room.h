/* A network namespace without a name, with a TUN device in it: it lasts as long as whoever is in it
 * or holds it open, so nothing is left behind, however a bench ends. */
#ifndef BENCH_LINK_ROOM_H
#define BENCH_LINK_ROOM_H

#include <stdint.h>

struct room {
    int namespace; /* others enter through /proc/PID/fd/N */
    int tun;
};

/* Make one, with the device "wan" that has its own address and leads to the other one (both as text);
 * 0, or -1 and *what failed. */
int room_open(struct room *room, const char *own, const char *other, int mtu, const char **what);

/* Packets that the device dropped because its queue was full; -1 if that cannot be told. */
int64_t room_dropped(const struct room *room);

#endif
