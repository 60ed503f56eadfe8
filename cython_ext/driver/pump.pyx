"""One turn of I/O for an endpoint, without the GIL but for handshakes.

A turn is bounded in datagrams, both ways, so that an event loop stays responsive under load; what is left
is asked for with `wants_turn`. Deadlines go to a timerfd: event loops round theirs to milliseconds.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from cython_ext.abi.datagram cimport Address
from cython_ext.abi.posix cimport (
    CLOCK_MONOTONIC, EAGAIN, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, close, itimerspec,
    monotonic_ns, read, timerfd_create, timerfd_settime,
)
from cython_ext.core.conn cimport Conn
from cython_ext.core.packet_builder cimport conn_poll

import os

cdef enum:
    # quinn bounds its turn at 160 datagrams; a GRO train costs little more than one of them.
    RECEIVES_PER_TURN = 4
    SENDS_PER_TURN = 1024
    HANDSHAKE_BYTES = 2048
    RETRY_AFTER_NS = 1_000_000
    ECT_0 = 2


cdef class Pump:
    """Moves datagrams between a non-blocking UDP socket and an endpoint.

    *fd* is borrowed; the timer is owned and closed with `close`.
    """

    def __init__(self, fd: int, endpoint: Endpoint, inbound: RecvBatch, outbound: SendBatch) -> None:
        self.fd = fd
        self.endpoint = endpoint
        self.inbound = inbound
        self.outbound = outbound
        self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.timer_fd < 0:
            raise OSError("timerfd_create failed; is the limit of open files reached (ulimit -n)?")

    def __dealloc__(self):
        if self.timer_fd > 0:
            close(self.timer_fd)

    def close(self) -> None:
        """Close the timer; the pump does nothing afterwards."""
        if self.timer_fd > 0:
            close(self.timer_fd)
            self.timer_fd = -1

    @staticmethod
    def now_ns() -> int:
        """Return the clock that the pump gives to the core."""
        return monotonic_ns()

    def turn(self, readable: bool = False) -> bool:
        """Receive (when *readable*), do what is due, send; True when connections have events.

        Raises OSError when the socket is unusable.
        """
        cdef int64_t now_ns = monotonic_ns()
        cdef bint receiving = readable
        if self.timer_fd < 0:
            return False
        self.turns += 1
        self.wants_turn = False
        with nogil:
            if receiving:
                self.receive(now_ns)
        if self.endpoint.backlog.count:
            self.endpoint.process_backlog(now_ns)
        with nogil:
            self.endpoint.handle_timers(now_ns)
            self.send(now_ns)
            self.arm(now_ns)
        if self.failure:
            raise OSError(self.failure, os.strerror(self.failure))
        return self.endpoint.ready.count > 0

    cdef void receive(self, int64_t now_ns) noexcept nogil:
        cdef int _n, i, got
        for _n in range(RECEIVES_PER_TURN):
            got = self.inbound.receive(self.fd)
            if got < 0:
                self.failure = -got
                return
            for i in range(got):
                self.endpoint.handle_train(self.inbound.trains[i].data, self.inbound.trains[i].length,
                                           self.inbound.trains[i].segment, &self.inbound.trains[i].peer,
                                           self.inbound.trains[i].ecn, now_ns)
            if got < self.inbound.slots:
                return

    cdef bint post_outbox(self) noexcept nogil:
        """Send the datagrams of handshakes; False when the kernel takes no more."""
        cdef Address peer
        cdef uint8_t[HANDSHAKE_BYTES] datagram
        cdef uint8_t* room
        cdef uint32_t length = 0, n
        while self.endpoint.outbox.count:
            memset(&peer, 0, sizeof(Address))
            if not self.endpoint.take_outbox(&peer, datagram, &length):
                break
            room = self.outbound.reserve(&peer, length)
            if room == NULL:
                if self.outbound.flush(self.fd) != 0:
                    # Lost like any datagram: handshakes repeat themselves.
                    return False
                room = self.outbound.reserve(&peer, length)
                if room == NULL:
                    return False
            for n in range(length):
                room[n] = datagram[n]
            self.outbound.commit(length, 0)
        return True

    cdef void send(self, int64_t now_ns) noexcept nogil:
        cdef Conn* c
        cdef uint8_t* room
        cdef uint32_t length, sent = 0
        cdef int left = 0
        self.wants_write = False
        self.retry_ns = 0
        if self.outbound.pending():
            left = self.outbound.flush(self.fd)
        if left == 0 and self.post_outbox():
            c = self.endpoint.next_touched()
            while c != NULL:
                room = self.outbound.reserve(&c.peer_address, c.datagram_bytes if c.datagram_bytes else 1200)
                if room == NULL:
                    left = self.outbound.flush(self.fd)
                    if left != 0:
                        break
                    continue
                length = conn_poll(c, room, c.datagram_bytes, now_ns)
                self.outbound.commit(length, ECT_0 if c.recovery.ecn.sends else 0)
                if length == 0:
                    self.endpoint.settle(c)
                    c = self.endpoint.next_touched()
                    continue
                sent += 1
                if sent >= SENDS_PER_TURN:
                    self.wants_turn = True
                    break
        if left == 0:
            left = self.outbound.flush(self.fd)
        if left < 0:
            self.failure = -left
        elif left > 0:
            if self.outbound.blocked_by == EAGAIN:
                self.wants_write = True
            else:
                # ENOBUFS: the socket stays writable, so only time helps.
                self.retry_ns = now_ns + RETRY_AFTER_NS

    cdef void arm(self, int64_t now_ns) noexcept nogil:
        """Set the timer when something is due earlier than it fires.

        Deadlines move on with every packet, so setting it each time would cost a system call per packet; a
        timer that fires early costs one turn, and is then set to what is due.
        """
        cdef itimerspec when
        cdef uint64_t expirations
        cdef int64_t due = self.endpoint.next_timer()
        if self.retry_ns and (due == 0 or self.retry_ns < due):
            due = self.retry_ns
        if self.armed_ns <= now_ns:
            if due == 0:
                if self.armed_ns:
                    # It fired, and nothing else would make it unreadable again.
                    read(self.timer_fd, &expirations, sizeof(expirations))
                    self.armed_ns = 0
                return
        elif due == 0 or due >= self.armed_ns:
            return
        memset(&when, 0, sizeof(itimerspec))
        when.it_value.tv_sec = due // 1_000_000_000
        when.it_value.tv_nsec = due % 1_000_000_000
        timerfd_settime(self.timer_fd, TFD_TIMER_ABSTIME, &when, NULL)
        self.armed_ns = due

    def counters(self) -> dict[str, int]:
        """Return what the socket moved, both ways, by name."""
        received = {f"receive_{name}": value for name, value in self.inbound.counters().items()}
        sent = {f"send_{name}": value for name, value in self.outbound.counters().items()}
        return {**received, **sent, "turns": self.turns}
