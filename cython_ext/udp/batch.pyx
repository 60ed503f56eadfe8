"""RecvBatch and SendBatch; the contract and the meaning of every field are in batch.pxd."""

import socket

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from cython_ext.abi.datagram cimport Address, address_equal, address_set_v4, address_set_v6
from cython_ext.abi.posix cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, EAGAIN, EBADF,
    ECONNREFUSED, EFAULT, EHOSTUNREACH, EINTR, EINVAL, EIO, EMSGSIZE, ENETUNREACH, ENOBUFS, ENOMEM,
    ENOTSOCK, EPERM, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_TCLASS, IP_TOS, MAP_ANONYMOUS,
    MAP_FAILED, MAP_PRIVATE, MSG_DONTWAIT, MSG_TRUNC, PROT_READ, PROT_WRITE, UDP_GRO, UDP_SEGMENT,
    cmsghdr, errno, htons, iovec, mmap, mmsghdr, msghdr, munmap, ntohs, recvmmsg, sendmmsg,
    sockaddr_in, sockaddr_in6,
)

cdef enum:
    MAX_DATAGRAM = 65507    # the largest UDP payload over IPv4; also the bound of one GSO run
    MAX_GSO_SEGMENTS = 64   # UDP_MAX_SEGMENTS of kernels before 6.9
    SLOT_BYTES = 65536      # GRO may hand over all of 65,535 bytes; less would truncate trains
    CONTROL_BYTES = 128     # room for every control message asked for, with slack
    HEADERS = 64            # messages per sendmmsg
    REFUSALS = 16           # ICMP errors read in one turn before the socket is left alone

cdef uint8_t* V4_PREFIX = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef uint8_t* take_pages(size_t size) noexcept nogil:
    """Return pages of their own, which the system takes back whole; NULL when there are none.

    From the heap, which keeps what it once had, a thousand short-lived sockets would leave holes.
    """
    cdef void* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return NULL if pages == MAP_FAILED else <uint8_t*> pages


cdef void give_pages(uint8_t* pages, size_t size) noexcept nogil:
    if pages != NULL:
        munmap(pages, size)


@cython.final
cdef class RecvBatch:
    """Receive trains of datagrams into buffers that are allocated once.

    Args:
        slots: trains per system call, 1 to 1024. Each slot reserves 64 KiB of address space; pages
            are taken from the system when first written.
    """

    def __cinit__(self, int slots=8):
        cdef int i
        if not 1 <= slots <= 1024:
            raise ValueError(f"slots must be 1 to 1024, not {slots}")
        self.slots = slots
        self.trains = <Train*> calloc(slots, sizeof(Train))
        self._buffers = take_pages(<size_t> slots * SLOT_BYTES)
        self._controls = <uint8_t*> calloc(slots, CONTROL_BYTES)
        self._names = <sockaddr_in6*> calloc(slots, sizeof(sockaddr_in6))
        self._vectors = <iovec*> calloc(slots, sizeof(iovec))
        self._headers = <mmsghdr*> calloc(slots, sizeof(mmsghdr))
        if (
            self.trains == NULL or self._buffers == NULL or self._controls == NULL
            or self._names == NULL or self._vectors == NULL or self._headers == NULL
        ):
            raise MemoryError
        for i in range(slots):
            self._vectors[i].iov_base = self._buffers + <size_t> i * SLOT_BYTES
            self._vectors[i].iov_len = SLOT_BYTES
            self._headers[i].msg_hdr.msg_name = &self._names[i]
            self._headers[i].msg_hdr.msg_iov = &self._vectors[i]
            self._headers[i].msg_hdr.msg_iovlen = 1
            self._headers[i].msg_hdr.msg_control = self._controls + <size_t> i * CONTROL_BYTES
        self._used = slots

    def __dealloc__(self):
        free(self.trains)
        give_pages(self._buffers, <size_t> self.slots * SLOT_BYTES)
        free(self._controls)
        free(self._names)
        free(self._vectors)
        free(self._headers)

    cdef int receive(self, int fd) noexcept nogil:
        cdef RecvCounts* counts = &self.counts
        cdef int i
        cdef int got
        cdef int tries = 0
        self.count = 0
        while True:
            for i in range(self._used):
                # The kernel writes what it used into these two; give the whole room back.
                self._headers[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
                self._headers[i].msg_hdr.msg_controllen = CONTROL_BYTES
            self._used = 0
            got = recvmmsg(fd, self._headers, self.slots, MSG_DONTWAIT, NULL)
            if got >= 0:
                break
            if errno == EAGAIN:
                return 0
            if errno == EBADF or errno == ENOTSOCK or errno == EFAULT or errno == EINVAL:
                return -errno
            # EINTR, or an ICMP error that an earlier send caused: reading it cleared it, and data
            # may wait behind it.
            if errno != EINTR:
                counts.refused += 1
            tries += 1
            if tries == REFUSALS:
                return 0
        self._used = got
        counts.calls += 1
        for i in range(got):
            if self._accept(i, &self.trains[self.count]):
                self.count = self.count + 1
        return self.count

    cdef bint _accept(self, int slot, Train* train) noexcept nogil:
        cdef RecvCounts* counts = &self.counts
        cdef msghdr* header = &self._headers[slot].msg_hdr
        cdef sockaddr_in6* v6 = &self._names[slot]
        cdef sockaddr_in* v4 = <sockaddr_in*> v6
        cdef cmsghdr* control
        cdef int value = 0
        if header.msg_flags & MSG_TRUNC:
            counts.truncated += 1
            return False
        train.length = self._headers[slot].msg_len
        if train.length == 0 or header.msg_namelen == 0:
            counts.unaddressed += 1
            return False
        if v4.sin_family == AF_INET:
            address_set_v4(&train.peer, <uint8_t*> &v4.sin_addr.s_addr, ntohs(v4.sin_port))
        elif v6.sin6_family != AF_INET6:
            counts.unaddressed += 1
            return False
        elif memcmp(v6.sin6_addr.s6_addr, V4_PREFIX, 12) == 0:
            address_set_v4(&train.peer, v6.sin6_addr.s6_addr + 12, ntohs(v6.sin6_port))
        else:
            address_set_v6(
                &train.peer, v6.sin6_addr.s6_addr, ntohs(v6.sin6_port), v6.sin6_scope_id
            )
        train.data = self._buffers + <size_t> slot * SLOT_BYTES
        train.segment = train.length
        train.ecn = 0
        control = CMSG_FIRSTHDR(header)
        while control != NULL:
            if control.cmsg_level == IPPROTO_UDP and control.cmsg_type == UDP_GRO:
                memcpy(&value, CMSG_DATA(control), sizeof(int))
                if 0 < value < <int> train.length:
                    train.segment = <uint32_t> value
            elif control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_TOS:
                train.ecn = CMSG_DATA(control)[0] & 3   # one byte, unlike its IPv6 sister
            elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_TCLASS:
                memcpy(&value, CMSG_DATA(control), sizeof(int))
                train.ecn = <uint8_t> (value & 3)
            control = CMSG_NXTHDR(header, control)
        counts.trains += 1
        counts.datagrams += (train.length + train.segment - 1) // train.segment
        counts.bytes += train.length
        return True

    def read(self, int fd):
        """Receive once and return copies: a list of (data, segment, address, ecn).

        A window for tests and tools; the datapath reads the trains in place.

        Raises:
            OSError: the socket is unusable.
        """
        cdef int i
        cdef int got = self.receive(fd)
        if got < 0:
            raise OSError(-got, "recvmmsg failed")
        return [
            (
                PyBytes_FromStringAndSize(<char*> self.trains[i].data, self.trains[i].length),
                self.trains[i].segment,
                address_to_python(&self.trains[i].peer),
                self.trains[i].ecn,
            )
            for i in range(got)
        ]

    def counters(self):
        """Return a snapshot of RecvCounts as a dict from name to number."""
        return self.counts


@cython.final
cdef class SendBatch:
    """Collect datagrams in place and send them with as few system calls as the kernel allows.

    Args:
        slots: runs per batch, 1 to 1024.
        max_segments: datagrams per GSO run, 1 to 64; beyond 16 to 32 little is gained.
        family: of the socket, ``socket.AF_INET`` or ``socket.AF_INET6``; an IPv4 peer of an IPv6
            socket is written as a mapped address.
        gso: let the kernel cut runs; off, every datagram is a message of its own in sendmmsg.
        connected: the socket has a peer of its own; addresses are not passed to the kernel.
    """

    def __cinit__(
        self,
        int slots=16,
        int max_segments=32,
        *,
        int family=socket.AF_INET,
        bint gso=True,
        bint connected=False,
    ):
        if not 1 <= slots <= 1024:
            raise ValueError(f"slots must be 1 to 1024, not {slots}")
        if not 1 <= max_segments <= MAX_GSO_SEGMENTS:
            raise ValueError(f"max_segments must be 1 to {MAX_GSO_SEGMENTS}, not {max_segments}")
        if family != AF_INET and family != AF_INET6:
            raise ValueError(f"family must be AF_INET or AF_INET6, not {family}")
        self.slots = slots
        self.max_segments = max_segments
        self.gso = gso
        self._is_v6 = family == AF_INET6
        self._connected = connected
        self._arena_bytes = <uint32_t> slots * SLOT_BYTES
        self._arena = take_pages(self._arena_bytes)
        self._messages = <Message*> calloc(slots + 1, sizeof(Message))
        self._controls = <uint8_t*> calloc(HEADERS, CONTROL_BYTES)
        self._vectors = <iovec*> calloc(HEADERS, sizeof(iovec))
        self._headers = <mmsghdr*> calloc(HEADERS, sizeof(mmsghdr))
        if (
            self._arena == NULL or self._messages == NULL or self._controls == NULL
            or self._vectors == NULL or self._headers == NULL
        ):
            raise MemoryError

    def __dealloc__(self):
        give_pages(self._arena, self._arena_bytes)
        free(self._messages)
        free(self._controls)
        free(self._vectors)
        free(self._headers)

    cdef uint8_t* reserve(self, const Address* peer, uint32_t capacity) noexcept nogil:
        cdef Message* last
        if capacity > MAX_DATAGRAM or capacity > self._arena_bytes - self._used:
            return NULL
        if self._count >= self.slots:
            # The last run may still grow. Should the datagram turn out not to fit into it, the
            # spare message takes it, and the batch is full.
            if self._count > self.slots:
                return NULL
            last = &self._messages[self._count - 1]
            if last.sealed or capacity > last.segment or not address_equal(&last.peer, peer):
                return NULL
        memcpy(&self._peer, peer, sizeof(Address))
        self._reserved = capacity
        return self._arena + self._used

    cdef void commit(self, uint32_t length, uint8_t ecn) noexcept nogil:
        cdef Message* message
        if length > self._reserved:
            length = self._reserved
        self._reserved = 0
        if length == 0:
            return
        if self._count > 0:
            message = &self._messages[self._count - 1]
            # A run that the kernel has seen in part must not grow: its headers were built already.
            if (
                not message.sealed
                and length <= message.segment
                and ecn == message.ecn
                and message.length + length <= MAX_DATAGRAM
                and address_equal(&message.peer, &self._peer)
            ):
                message.length += length
                message.segments += 1
                message.sealed = (
                    length < message.segment or message.segments >= <uint32_t> self.max_segments
                )
                self._used = self._used + length
                return
        message = &self._messages[self._count]
        message.start = self._used
        message.length = length
        message.sent = 0
        message.segments = 1
        message.segment = <uint16_t> length
        message.ecn = ecn
        message.sealed = self.max_segments == 1
        message.split = False
        memcpy(&message.peer, &self._peer, sizeof(Address))
        self._name(message)
        self._count = self._count + 1
        self._used = self._used + length

    cdef int flush(self, int fd) noexcept nogil:
        cdef SendCounts* counts = &self.counts
        cdef int built
        cdef int sent
        cdef int status
        cdef int refusals = 0
        self.blocked_by = 0
        while True:
            built = self._build()
            if built == 0:
                self.clear()
                return 0
            sent = sendmmsg(fd, self._headers, built, MSG_DONTWAIT)
            if sent > 0:
                self._advance(sent)
                refusals = 0
                continue
            if errno == ECONNREFUSED:
                # It tells of an earlier datagram and stands in the way of this one.
                counts.refused += 1
                refusals += 1
                if refusals < REFUSALS:
                    continue
                self._drop_head(&counts.unreachable)
                continue
            status = self._overcome(errno)
            if status < 0:
                return status
            if status > 0:
                # What is pending may be in part with the kernel: nothing may join it any more.
                self._messages[self._first].sealed = True
                return self._count - self._first

    cdef int pending(self) noexcept nogil:
        return self._count - self._first

    cdef void clear(self) noexcept nogil:
        self._count = 0
        self._first = 0
        self._used = 0
        self._reserved = 0
        self._retried = False

    cdef int _build(self) noexcept nogil:
        """Fill the headers from what is pending; return how many."""
        cdef int index = self._first
        cdef int filled = 0
        cdef uint32_t at = 0
        cdef uint32_t take
        cdef Message* message
        cdef msghdr* header
        cdef cmsghdr* control
        cdef size_t control_bytes
        cdef int traffic_class
        cdef bint is_run
        if index < self._count:
            at = self._messages[index].sent
        while filled < HEADERS and index < self._count:
            message = &self._messages[index]
            take = message.length - at
            is_run = take > message.segment and self.gso and not message.split
            if take > message.segment and not is_run:
                take = message.segment
            self._vectors[filled].iov_base = self._arena + message.start + at
            self._vectors[filled].iov_len = take
            header = &self._headers[filled].msg_hdr
            header.msg_iov = &self._vectors[filled]
            header.msg_iovlen = 1
            header.msg_flags = 0
            header.msg_name = NULL if self._connected else &message.name
            header.msg_namelen = 0 if self._connected else message.name_length
            header.msg_control = self._controls + <size_t> filled * CONTROL_BYTES
            header.msg_controllen = CONTROL_BYTES
            control_bytes = 0
            control = CMSG_FIRSTHDR(header)
            if is_run:
                control.cmsg_level = IPPROTO_UDP
                control.cmsg_type = UDP_SEGMENT
                control.cmsg_len = CMSG_LEN(sizeof(uint16_t))
                memcpy(CMSG_DATA(control), &message.segment, sizeof(uint16_t))
                control_bytes = CMSG_SPACE(sizeof(uint16_t))
                control = <cmsghdr*> (<uint8_t*> header.msg_control + control_bytes)
            if message.ecn != 0:
                traffic_class = message.ecn
                control.cmsg_level = IPPROTO_IPV6 if message.is_v6 else IPPROTO_IP
                control.cmsg_type = IPV6_TCLASS if message.is_v6 else IP_TOS
                control.cmsg_len = CMSG_LEN(sizeof(int))
                memcpy(CMSG_DATA(control), &traffic_class, sizeof(int))
                control_bytes += CMSG_SPACE(sizeof(int))
            header.msg_controllen = control_bytes
            if control_bytes == 0:
                header.msg_control = NULL
            filled += 1
            at += take
            if at == message.length:
                index += 1
                at = 0
        return filled

    cdef void _advance(self, int sent) noexcept nogil:
        """Take the first *sent* headers off what is pending."""
        cdef SendCounts* counts = &self.counts
        cdef int i
        cdef uint32_t length
        cdef Message* message
        counts.calls += 1
        counts.messages += sent
        self._retried = False
        for i in range(sent):
            message = &self._messages[self._first]
            length = <uint32_t> self._vectors[i].iov_len
            counts.bytes += length
            counts.datagrams += (length + message.segment - 1) // message.segment
            message.sent += length
            if message.sent == message.length:
                self._first = self._first + 1

    cdef int _overcome(self, int error) noexcept nogil:
        """Deal with *error* of the first header: 0 go on, 1 keep the rest, -errno give up."""
        cdef SendCounts* counts = &self.counts
        cdef Message* head = &self._messages[self._first]
        cdef bint was_run = (
            self.gso and not head.split and head.length - head.sent > head.segment
        )
        if error == EINTR:
            return 0
        if error == EAGAIN:
            counts.would_block += 1
            self.blocked_by = error
            return 1
        if error == ENOBUFS or error == ENOMEM:
            counts.no_buffers += 1
            self.blocked_by = error
            return 1
        if error == EBADF or error == ENOTSOCK or error == EFAULT:
            self.blocked_by = error
            return -error
        if error == EPERM:
            # Connection tracking answers so while its entry is being made; once is no verdict.
            counts.denied += 1
            if self._retried:
                self._drop_head(&counts.unreachable)
            else:
                self._retried = True
            return 0
        if was_run:
            if error == EHOSTUNREACH or error == ENETUNREACH:
                while self._first < self._count and head == &self._messages[self._first]:
                    self._drop_head(&counts.unreachable)
                return 0
            # EIO: the device cannot checksum runs. EINVAL, EMSGSIZE: this run is not to its taste.
            head.split = True
            counts.split += 1
            if error == EIO:
                self.gso = False
                counts.gso_lost = 1
            return 0
        if error == EMSGSIZE:
            self._drop_head(&counts.too_big)
        else:
            self._drop_head(&counts.unreachable)
        return 0

    cdef void _drop_head(self, uint64_t* counter) noexcept nogil:
        """Forget the first pending datagram and count it."""
        cdef Message* head = &self._messages[self._first]
        cdef uint32_t length = head.length - head.sent
        if length > head.segment:
            length = head.segment
        head.sent += length
        head.sealed = True
        counter[0] += 1
        self._retried = False
        if head.sent == head.length:
            self._first = self._first + 1

    cdef void _name(self, Message* message) noexcept nogil:
        """Write the socket address of *message* in the family of the socket."""
        cdef sockaddr_in* v4 = <sockaddr_in*> &message.name
        cdef sockaddr_in6* v6 = &message.name
        memset(v6, 0, sizeof(sockaddr_in6))
        message.is_v6 = message.peer.family == 6
        if message.peer.family == 4 and not self._is_v6:
            v4.sin_family = AF_INET
            v4.sin_port = htons(message.peer.port)
            memcpy(&v4.sin_addr.s_addr, message.peer.ip, 4)
            message.name_length = sizeof(sockaddr_in)
            return
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(message.peer.port)
        if message.peer.family == 4:
            memcpy(v6.sin6_addr.s6_addr, V4_PREFIX, 12)
            memcpy(v6.sin6_addr.s6_addr + 12, message.peer.ip, 4)
        else:
            memcpy(v6.sin6_addr.s6_addr, message.peer.ip, 16)
            v6.sin6_scope_id = message.peer.scope
        message.name_length = sizeof(sockaddr_in6)

    def append(self, bytes data not None, tuple address not None, int ecn=0):
        """Copy one datagram into the batch; tell whether there was room.

        A window for tests and tools; the datapath writes in place.
        """
        cdef Address peer
        cdef uint8_t* room
        address_from_python(address, &peer)
        room = self.reserve(&peer, <uint32_t> len(data))
        if room == NULL:
            return False
        memcpy(room, <const char*> data, len(data))
        self.commit(<uint32_t> len(data), <uint8_t> (ecn & 3))
        return True

    def send(self, int fd):
        """Flush to *fd* and return how many messages are still pending.

        Raises:
            OSError: the socket is unusable.
        """
        cdef int left = self.flush(fd)
        if left < 0:
            raise OSError(-left, "sendmmsg failed")
        return left

    def runs(self):
        """Return what is pending: a list of (segment sizes, address, ecn)."""
        cdef int i
        cdef uint32_t at
        cdef Message* message
        found = []
        for i in range(self._first, self._count):
            message = &self._messages[i]
            sizes = []
            at = message.sent
            while at < message.length:
                sizes.append(min(message.segment, message.length - at))
                at += message.segment
            found.append((sizes, address_to_python(&message.peer), message.ecn))
        return found

    def counters(self):
        """Return a snapshot of SendCounts as a dict from name to number."""
        return self.counts


cdef object address_to_python(const Address* address):
    """Return (host, port), or (host, port, scope) when IPv6 has a zone."""
    if address.family == 4:
        return socket.inet_ntop(socket.AF_INET, address.ip[:4]), address.port
    host = socket.inet_ntop(socket.AF_INET6, address.ip[:16])
    return (host, address.port, address.scope) if address.scope else (host, address.port)


cdef int address_from_python(tuple value, Address* address) except -1:
    """Read (host, port[, scope]); the host is a literal, never a name to resolve.

    Raises:
        ValueError: the host is no IP address or the port is not 0 to 65,535.
    """
    cdef bytes packed
    cdef int port
    cdef uint32_t scope = 0
    if not 2 <= len(value) <= 3:
        raise ValueError(f"an address is (host, port) or (host, port, scope), not {value!r}")
    host = value[0]
    port = value[1]
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is 0 to 65535, not {port}")
    if len(value) == 3:
        scope = value[2]
    try:
        if ":" in host:
            packed = socket.inet_pton(socket.AF_INET6, host)
            address_set_v6(address, <const uint8_t*> <const char*> packed, <uint16_t> port, scope)
        else:
            packed = socket.inet_pton(socket.AF_INET, host)
            address_set_v4(address, <const uint8_t*> <const char*> packed, <uint16_t> port)
    except OSError:
        raise ValueError(f"{host!r} is not an IP address; resolve names first") from None
    return 0
