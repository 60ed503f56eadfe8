"""The system calls that move datagrams and tell the time, as the C headers declare them.

Declarations only. Sans-IO layers may not name this file; `udp` and `driver` may.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/types.h>" nogil:
    ctypedef int64_t ssize_t

cdef extern from "<errno.h>" nogil:
    int errno
    enum:
        EACCES
        EADDRNOTAVAIL
        EAFNOSUPPORT
        EAGAIN
        EBADF
        ECONNREFUSED
        EFAULT
        EHOSTUNREACH
        EINTR
        EINVAL
        EIO
        EMSGSIZE
        ENETUNREACH
        ENOBUFS
        ENOMEM
        ENOPROTOOPT
        ENOTSOCK
        EOPNOTSUPP
        EPERM

cdef extern from "<time.h>" nogil:
    ctypedef int64_t time_t
    ctypedef int clockid_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    cdef struct itimerspec:
        timespec it_interval
        timespec it_value
    clockid_t CLOCK_MONOTONIC
    clockid_t CLOCK_REALTIME
    int clock_gettime(clockid_t clock, timespec* now)

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* new, itimerspec* old)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void* data, size_t length)
    ssize_t write(int fd, const void* data, size_t length)
    int close(int fd)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        MAP_ANONYMOUS
        MAP_PRIVATE
        PROT_READ
        PROT_WRITE
    void* MAP_FAILED
    void* mmap(void* at, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* at, size_t length)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef uint32_t socklen_t
    ctypedef uint16_t sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    enum:
        AF_INET
        AF_INET6
        AF_UNIX
        MSG_CTRUNC
        MSG_DONTWAIT
        MSG_TRUNC
        SOCK_DGRAM
        SOL_SOCKET
        SO_DOMAIN
        SO_RCVBUF
        SO_RCVBUFFORCE
        SO_REUSEPORT
        SO_SNDBUF
        SO_SNDBUFFORCE
        SO_TYPE
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, timespec* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t length)
    int getsockopt(int fd, int level, int option, void* value, socklen_t* length)
    size_t CMSG_SPACE(size_t length)
    size_t CMSG_LEN(size_t length)
    unsigned char* CMSG_DATA(cmsghdr* message)
    cmsghdr* CMSG_FIRSTHDR(msghdr* header)
    cmsghdr* CMSG_NXTHDR(msghdr* header, cmsghdr* message)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct in6_addr:
        unsigned char s6_addr[16]
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    enum:
        IPPROTO_IP
        IPPROTO_IPV6
        IPPROTO_UDP
        IPV6_MTU_DISCOVER
        IPV6_PMTUDISC_PROBE
        IPV6_RECVTCLASS
        IPV6_TCLASS
        IPV6_V6ONLY
        IP_MTU_DISCOVER
        IP_PMTUDISC_PROBE
        IP_RECVTOS
        IP_TOS
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)

cdef extern from * nogil:
    """
    #include <netinet/udp.h>
    /* Old headers lack them; the numbers are the kernel's interface and never change. */
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104
    #endif
    """
    enum:
        UDP_GRO
        UDP_SEGMENT


cdef inline uint64_t monotonic_ns() noexcept nogil:
    """Return CLOCK_MONOTONIC in nanoseconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1_000_000_000 + <uint64_t> now.tv_nsec
