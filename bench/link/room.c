#define _GNU_SOURCE
#include "room.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "wan"

/* What the kernel remembers of a path would leak from one connection into the next; and nobody but
 * the peers shall speak. */
static const char *const settings[][2] = {
    {"/proc/sys/net/ipv4/tcp_no_metrics_save", "1"},
    {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"},
    {"/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"},
};

static void configure(void)
{
    for (size_t n = 0; n < sizeof settings / sizeof *settings; n++) {
        int file = open(settings[n][0], O_WRONLY | O_CLOEXEC);
        if (file < 0)
            continue; /* a kernel without IPv6 has no such file, and needs none */
        if (write(file, settings[n][1], 1) != 1)
            fprintf(stderr, "%s could not be set\n", settings[n][0]);
        close(file);
    }
}

static void name_device(struct ifreq *request, const char *name)
{
    memset(request, 0, sizeof *request);
    snprintf(request->ifr_name, sizeof request->ifr_name, "%s", name);
}

static int raise_device(int socket, const char *name)
{
    struct ifreq request;
    name_device(&request, name);
    if (ioctl(socket, SIOCGIFFLAGS, &request))
        return -1;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(socket, SIOCSIFFLAGS, &request);
}

static int set_address(int socket, unsigned long request, const char *address)
{
    struct sockaddr_in is = {.sin_family = AF_INET};
    struct ifreq wanted;
    if (inet_pton(AF_INET, address, &is.sin_addr) != 1)
        return -1;
    name_device(&wanted, DEVICE);
    memcpy(&wanted.ifr_addr, &is, sizeof is);
    return ioctl(socket, request, &wanted);
}

static int set_up(const char *own, const char *other, int mtu)
{
    struct ifreq request;
    int talk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bad;
    if (talk < 0)
        return -1;
    /* The other's address is the only one that there is a route to. */
    bad = set_address(talk, SIOCSIFADDR, own) || set_address(talk, SIOCSIFDSTADDR, other);
    name_device(&request, DEVICE);
    request.ifr_mtu = mtu;
    bad = bad || ioctl(talk, SIOCSIFMTU, &request);
    /* The queue is the link's to model; the device's must never fill. */
    name_device(&request, DEVICE);
    request.ifr_qlen = 10000;
    bad = bad || ioctl(talk, SIOCSIFTXQLEN, &request);
    bad = bad || raise_device(talk, DEVICE) || raise_device(talk, "lo");
    close(talk);
    return bad ? -1 : 0;
}

int room_open(struct room *room, const char *own, const char *other, int mtu, const char **what)
{
    struct ifreq wanted;
    *what = "making a network namespace (CAP_SYS_ADMIN is needed)";
    if (unshare(CLONE_NEWNET))
        return -1;
    room->namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (room->namespace < 0)
        return -1;
    configure();
    *what = "opening /dev/net/tun";
    room->tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (room->tun < 0)
        return -1;
    *what = "making a TUN device";
    name_device(&wanted, DEVICE);
    wanted.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(room->tun, TUNSETIFF, &wanted))
        return -1;
    /* No offloads: the kernel hands over packets as they would be on a wire, with checksums. */
    *what = "switching off the device's offloads";
    if (ioctl(room->tun, TUNSETOFFLOAD, 0))
        return -1;
    *what = "giving the device its address";
    return set_up(own, other, mtu);
}

int64_t room_dropped(const struct room *room)
{
    char line[512];
    int64_t dropped = -1;
    FILE *devices;
    if (setns(room->namespace, CLONE_NEWNET))
        return -1;
    devices = fopen("/proc/thread-self/net/dev", "re");
    if (!devices)
        return -1;
    while (fgets(line, sizeof line, devices)) {
        char name[32];
        int64_t count;
        /* Eight numbers of what it received, then bytes, packets, errors and drops of what it sent. */
        if (sscanf(line,
                   " %31[^:]: %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNd64, name,
                   &count) == 2 &&
            !strcmp(name, DEVICE))
            dropped = count;
    }
    fclose(devices);
    return dropped;
}
