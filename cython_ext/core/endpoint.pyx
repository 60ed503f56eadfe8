"""The endpoint: which connection a datagram is for, who may begin one, and whose timer is next.

Protected packets are handled without the GIL, a train per call. Handshake datagrams are copied aside and
handled with it, a bounded number per turn, by `process_backlog`. The four verbs are `handle_*` (world to
core), plain commands, `poll_*` (core to world) and properties; time is always an argument.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc
from libc.string cimport memcmp, memcpy

from cython_ext.abi.datagram cimport Address, address_equal
from cython_ext.abi.openssl cimport CRYPTO_memcmp
from cython_ext.core.addresses cimport (
    address_from_python, address_key, address_to_python, pop_addressed, push_addressed,
)
from cython_ext.core.conn cimport (
    EVENT_CONNECTED, OWES_DONE, STATELESS_RESET, conn_enter_draining, conn_start_traffic,
)
from cython_ext.core.connection cimport Connection, conn_handle_timeout
from cython_ext.core.inbound cimport conn_handle_packet
from cython_ext.core.inbox cimport inbox_clear, inbox_first_length, inbox_pop, inbox_push
from cython_ext.core.packet_builder cimport conn_poll
from cython_ext.core.params cimport read_peer
from cython_ext.core.ranges cimport REPLAY_FRESH, replay_check, replay_commit
from cython_ext.core.recovery cimport recovery_skip
from cython_ext.core.schedule cimport heap_remove
from cython_ext.core.state cimport (
    ANSWER_HELLO, CLOSED, CLOSING, HELLO_ANSWERED, HELLO_SENT, SEND_HELLO, VERIFY_FINISHED,
    VERIFY_HELLO, advance_connection,
)
from cython_ext.core.table cimport ConnectionTable
from cython_ext.crypto.keys cimport keys_install
from cython_ext.wire.header cimport (
    ACCEPTED, BACKLOG_LIMIT, BAD_RESET, BAD_VERSION, CONNECTION_LIMIT, EARLY_LIMIT, FLAG_ACK,
    FLAG_RST, FLAG_SYN, FLAGS_PROTECTED, HALF_OPEN_LIMIT, HEADER_BYTES, HELLO_CONFLICT, HELLO_DUPLICATE,
    NOT_ACCEPTING, REPLAYED, RETRY_IGNORED, UNKNOWN_ID, VERSION_NEGOTIATION, VERSION_ONE,
    WRONG_ADDRESS, WRONG_STATE, expand_packet_number, parse_header,
)

import hmac

from cython_ext.core.connection_id import make_connection_id
from cython_ext.core.handshake import (
    ClientHandshake, ClientHello, ServerHandshake, check_client_hello, mac1_key, reset_key,
)
from cython_ext.crypto import suite as crypto
from cython_ext.wire.header import Verdict as VerdictName
from cython_ext.wire.header import encode_header

cdef enum:
    BACKLOG_DATAGRAMS = 512
    OUTBOX_DATAGRAMS = 4096
    EARLY_DATAGRAMS = 10
    ANSWERS_PER_S = 100         # docs/protocol.md section 8
    RESET_TRIGGER_BYTES = 48
    OFFERED_VERSIONS = 16       # as many as a reason lists
    FIRST_BUCKETS = 64
    MAX_DATAGRAM = 65535

INITIAL_REPEATS = 3     # SYN and PSH are repeated after 3 x the initial round trip, doubling
MAX_REPEATS = 4         # up to four times that: ten tries before the handshake times out


cdef class Endpoint(ConnectionTable):
    """Connections that share a socket.

    *entropy* is called with a number of bytes and returns as many random ones. *seed* is the Ed25519
    private seed of a server; without it the endpoint only connects.
    """

    def __cinit__(self):
        self.answers_left = ANSWERS_PER_S

    def __init__(self, params: Params, entropy: object, seed: bytes | None = None) -> None:
        if seed is not None and len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self.params = params
        self.entropy = entropy
        self.seed = seed
        self.signer = crypto.Signer(seed) if seed is not None else None
        self.pin = self.signer.public if seed is not None else None
        self.mac_key = mac1_key(self.pin) if seed is not None else None
        self.reset_secret = reset_key(seed) if seed is not None else None
        self.offer = params.encode()
        self.handles = {}
        self.hellos = {}

    def __dealloc__(self):
        inbox_clear(&self.backlog)
        inbox_clear(&self.outbox)

    # -- datagrams in --------------------------------------------------------------------------------------

    cdef void handle_train(self, uint8_t* data, uint32_t length, uint32_t segment, const Address* peer, uint8_t ecn,
                           int64_t now_ns) noexcept nogil:
        """Process datagrams of *segment* bytes each (the last may be shorter), in place."""
        cdef uint32_t size
        if segment == 0 or segment > length:
            segment = length
        while True:
            size = segment if segment < length else length
            self.drops[<int> self.handle_one(data, size, peer, ecn, now_ns)] += 1
            self.datagrams_received += 1
            data += size
            length -= size
            if length == 0:
                return

    cdef Verdict handle_one(self, uint8_t* data, uint32_t length, const Address* peer, uint8_t ecn, int64_t now_ns) noexcept nogil:
        cdef Header header
        cdef Verdict verdict = parse_header(data, length, &header)
        if verdict != ACCEPTED:
            return verdict
        if header.version != 2:
            if header.version == 0:
                return self.handle_version_negotiation(&header, data, length, peer)
            if self.seed is None:
                return BAD_VERSION
            if header.flags != FLAG_SYN if header.version == 1 else length < 1200:
                return BAD_VERSION
            if not self.may_answer(now_ns):
                return BAD_VERSION
            with gil:
                self.negotiate_version(header.id[:16], peer)
            return VERSION_ONE if header.version == 1 else BAD_VERSION
        return self.route(&header, data, length, peer, ecn, now_ns)

    cdef Verdict route(self, const Header* header, uint8_t* data, uint32_t length, const Address* peer, uint8_t ecn,
                       int64_t now_ns) noexcept nogil:
        cdef Conn* c
        cdef Verdict verdict
        if header.flags & ~<uint8_t> FLAGS_PROTECTED:
            if header.flags == FLAG_SYN and self.seed is None:
                return NOT_ACCEPTING
            if header.flags == FLAG_SYN | FLAG_RST:
                return RETRY_IGNORED
            if header.flags == FLAG_RST:
                return self.handle_reset(header, data, length, peer, now_ns)
            if header.flags != FLAG_SYN and self.find(header.id) == NULL:
                return UNKNOWN_ID
            if self.backlog.count >= BACKLOG_DATAGRAMS:
                return BACKLOG_LIMIT
            return ACCEPTED if push_addressed(&self.backlog, peer, data, length) else BACKLOG_LIMIT
        c = self.find(header.id)
        if c == NULL:
            if length > RESET_TRIGGER_BYTES and self.seed is not None and self.may_answer(now_ns):
                with gil:
                    self.send_reset(header, peer)
            return UNKNOWN_ID
        if not address_equal(&c.peer_address, peer):
            return WRONG_ADDRESS
        if not c.keys.installed or c.state == HELLO_ANSWERED:
            # Before the client's Finished: kept aside, a few of them.
            if c.state != HELLO_ANSWERED:
                return WRONG_STATE
            if c.early.count >= EARLY_DATAGRAMS or not inbox_push(&c.early, data, length):
                return EARLY_LIMIT
            return ACCEPTED
        verdict = conn_handle_packet(c, header, data, length, ecn, now_ns)
        if verdict != ACCEPTED:
            c.stats.packets_dropped += 1
        self.touch(c)
        return verdict

    cdef Verdict handle_version_negotiation(self, const Header* header, const uint8_t* data, uint32_t length,
                                            const Address* peer) noexcept nogil:
        """Remember what a server offers instead: the reason, should the handshake time out."""
        #= 4.8: A client MUST NOT give up because of a version negotiation packet alone.
        cdef Conn* c = self.find(header.id)
        cdef uint32_t n, size
        if c != NULL and c.is_client and c.state == HELLO_SENT and not header.flags and address_equal(&c.peer_address, peer):
            size = snprintf(<char*> c.close_reason, sizeof(c.close_reason), "the server offers version")
            for n in range(HEADER_BYTES, length if length < HEADER_BYTES + OFFERED_VERSIONS else HEADER_BYTES + OFFERED_VERSIONS):
                size += snprintf(<char*> c.close_reason + size, sizeof(c.close_reason) - size, " %d", data[n])
            c.close_reason_bytes = size
        return VERSION_NEGOTIATION

    cdef Verdict handle_reset(self, const Header* header, const uint8_t* data, uint32_t length, const Address* peer,
                              int64_t now_ns) noexcept nogil:
        #= 6.5: A client MUST compare the token of a stateless reset with the one from DONE in constant time, and move to DRAINING only when they are equal.
        # The packet carries the server's id, as ours did, so connections are found by address and that id.
        cdef uint32_t n
        cdef Conn* c
        if length != 48 or self.clients == 0:
            return BAD_RESET
        for n in range(self.bucket_count):
            c = self.buckets[n]
            while c != NULL:
                if (c.is_client and c.reset_token_known and memcmp(c.peer_id, header.id, 16) == 0
                        and address_equal(&c.peer_address, peer)
                        and CRYPTO_memcmp(c.reset_token, data + 32, 16) == 0):
                    conn_enter_draining(c, STATELESS_RESET, now_ns)
                    self.touch(c)
                    return ACCEPTED
                c = c.hash_next
        return BAD_RESET

    cdef bint may_answer(self, int64_t now_ns) noexcept nogil:
        """Spend one of the answers that strangers may cause, 100 a second for the whole endpoint."""
        if now_ns > self.answers_refilled_ns:
            self.answers_left += <double> (now_ns - self.answers_refilled_ns) * ANSWERS_PER_S / 1e9
            if self.answers_left > ANSWERS_PER_S:
                self.answers_left = ANSWERS_PER_S
            self.answers_refilled_ns = now_ns
        if self.answers_left < 1:
            return False
        self.answers_left -= 1
        return True

    cdef void send_reset(self, const Header* header, const Address* peer) noexcept:
        cdef bytes id = header.id[:16]
        token = hmac.digest(self.reset_secret, id, "sha256")[:16]
        self.post(peer, encode_header(2, FLAG_RST, id, 0, 0, 16) + token)

    cdef int negotiate_version(self, bytes id, const Address* peer) except -1:
        self.version_negotiated += 1
        self.post(peer, encode_header(0, 0, id, 0, 0, 1) + b"\x02")
        return 0

    # -- handshakes ------------------------------------------------------------------------------------------

    cdef bint post(self, const Address* peer, bytes datagram):
        """Queue a datagram of a handshake or of no connection; False when the queue is full."""
        if self.outbox.count >= OUTBOX_DATAGRAMS:
            return False
        return push_addressed(&self.outbox, peer, <const uint8_t*> PyBytes_AS_STRING(datagram), <uint32_t> len(datagram))

    cdef bint take_outbox(self, Address* peer, uint8_t* out, uint32_t* length) noexcept nogil:
        return pop_addressed(&self.outbox, peer, out, length)

    cdef bytes new_id(self, int64_t now_ns, bint server):
        """Return a fresh id that no connection has."""
        cdef bytes id
        while True:
            id = make_connection_id(self.entropy, now_ns, 0 if server else None)
            if self.find(<const uint8_t*> PyBytes_AS_STRING(id)) == NULL:
                return id

    cdef Connection new_connection(self, bytes own_id, const Address* peer, bint is_client, int64_t now_ns):
        cdef Connection handle = Connection.__new__(Connection)
        cdef Conn* c = <Conn*> calloc(1, sizeof(Conn))
        if c == NULL:
            raise MemoryError
        c.owners = 1
        handle.c = c
        handle._endpoint = self
        memcpy(c.own_id, <const uint8_t*> PyBytes_AS_STRING(own_id), 16)
        c.peer_address = peer[0]
        c.is_client = is_client
        c.params = self.params.view
        c.handshake_at_ns = now_ns + c.params.handshake_timeout_ns
        c.keys.update_after = c.params.key_update_packets
        self.serials += 1
        c.serial = self.serials
        self.clients += is_client
        if not self.insert(c):
            raise MemoryError
        c.owners = 2
        self.handles[c.serial] = handle
        return handle

    def connect(self, address: tuple[str, int], pin: bytes, now_ns: int, server_name: str = "") -> Connection:
        """Begin a connection to (numeric host, port) of the server with this 32-byte public key.

        Raises ValueError for a malformed address, pin or name.
        """
        cdef Address peer
        cdef Connection handle
        if len(pin) != 32:
            raise ValueError(f"a pin is a 32-byte Ed25519 public key, not {len(pin)} bytes")
        address_from_python(&peer, address)
        own_id = self.new_id(now_ns, False)
        handshake = ClientHandshake(pin, own_id, self.offer, self.params.suites, server_name, self.entropy)
        handle = self.new_connection(own_id, &peer, True, now_ns)
        handle.handshake = handshake
        handle.server_name = server_name
        advance_connection(&handle.c.state, SEND_HELLO)
        self.send_hello(handle, now_ns)
        return handle

    cdef int send_hello(self, Connection handle, int64_t now_ns) except -1:
        """Send or repeat what the client says in its state: SYN, or PSH."""
        cdef Conn* c = handle.c
        cdef uint64_t number = c.recovery.next
        if c.state == HELLO_SENT:
            c.hello_ns = now_ns if number == 0 else 0
            c.recovery.next += 1
            c.recovery.first = c.recovery.next
            datagram = handle.handshake.hello(number)
        else:
            recovery_skip(&c.recovery, False)
            datagram = handle.handshake.finished(number)
        self.post(&c.peer_address, datagram)
        c.stats.packets_sent += 1
        c.stats.bytes_sent += len(datagram)
        c.repeat_ns = c.repeat_ns * 2 if c.repeat_ns else INITIAL_REPEATS * c.params.initial_rtt_ns
        if c.repeat_ns > MAX_REPEATS * INITIAL_REPEATS * c.params.initial_rtt_ns:
            c.repeat_ns = MAX_REPEATS * INITIAL_REPEATS * c.params.initial_rtt_ns
        c.repeat_at_ns = now_ns + c.repeat_ns
        self.touch(c)
        return 0

    cpdef object process_backlog(self, int64_t now_ns):
        """Handle the handshake datagrams that came; at most the backlog's bound of them."""
        cdef Address peer
        cdef bytes record, datagram
        cdef uint32_t _n
        cdef Verdict verdict
        for _n in range(self.backlog.count):
            record = PyBytes_FromStringAndSize(NULL, inbox_first_length(&self.backlog))
            inbox_pop(&self.backlog, <uint8_t*> PyBytes_AS_STRING(record))
            memcpy(&peer, PyBytes_AS_STRING(record), sizeof(Address))
            datagram = record[sizeof(Address):]
            if datagram[5] == FLAG_SYN:
                verdict = self.handle_hello(datagram, &peer, now_ns)
            elif datagram[5] == FLAG_SYN | FLAG_ACK:
                verdict = self.handle_server_hello(datagram, &peer, now_ns)
            else:
                verdict = self.handle_finished(datagram, &peer, now_ns)
            if verdict != ACCEPTED:
                # It was counted as accepted when it was put aside.
                self.drops[<int> ACCEPTED] -= 1
                self.drops[<int> verdict] += 1

    cdef Verdict handle_hello(self, bytes datagram, const Address* peer, int64_t now_ns) except *:
        """A client hello at a server."""
        cdef Connection handle
        cdef Conn* c
        checked = check_client_hello(datagram, self.pin, self.mac_key, self.params.suites)
        if not isinstance(checked, ClientHello):
            return <Verdict> (<int> checked)
        key = address_key(peer) + checked.client_id
        number = int.from_bytes(datagram[22:26], "big")
        known = self.hellos.get(key)
        if known is not None:
            handle = known
            if handle.c.state != HELLO_ANSWERED:
                return HELLO_DUPLICATE
            if handle.handshake.hello.body != checked.body:
                return HELLO_CONFLICT
            self.answer_hello(handle, number, now_ns)
            return ACCEPTED
        if self.is_closed:
            return NOT_ACCEPTING
        if self.half_open >= self.params.view.max_half_open:
            return HALF_OPEN_LIMIT
        if self.conn_count >= self.params.view.max_connections:
            return CONNECTION_LIMIT
        server_id = self.new_id(now_ns, True)
        handshake = ServerHandshake(checked, self.signer, server_id, self.offer, self.entropy)
        if handshake.secrets is None:
            return <Verdict> (<int> VerdictName.HELLO_MALFORMED)
        handle = self.new_connection(server_id, peer, False, now_ns)
        c = handle.c
        handle.handshake = handshake
        handle.server_name = checked.server_name
        memcpy(c.peer_id, PyBytes_AS_STRING(checked.client_id), 16)
        read_peer(&c.peer, checked.params)
        advance_connection(&c.state, ANSWER_HELLO)
        c.half_open = True
        self.half_open += 1
        self.hellos[key] = handle
        c.stats.packets_received += 1
        self.answer_hello(handle, number, now_ns)
        return ACCEPTED

    cdef int answer_hello(self, Connection handle, uint64_t number, int64_t now_ns) except -1:
        #= 4.3: A server MUST send SYN+ACK only in answer to a valid client hello, so that it never sends more bytes to an unproven address than came from it.
        cdef Conn* c = handle.c
        c.hello_ns = now_ns if c.recovery.next == 0 else 0
        c.hello_number = number
        answer = handle.handshake.answer(c.recovery.next, number)
        c.recovery.next += 1
        c.recovery.first = c.recovery.next
        self.post(&c.peer_address, answer)
        c.stats.packets_sent += 1
        c.stats.bytes_sent += len(answer)
        self.touch(c)
        return 0

    cdef Verdict handle_server_hello(self, bytes datagram, const Address* peer, int64_t now_ns) except *:
        """A server hello at a client."""
        cdef Conn* c = self.find(<const uint8_t*> PyBytes_AS_STRING(datagram) + 6)
        cdef Connection handle
        cdef uint64_t number
        if c == NULL:
            return UNKNOWN_ID
        if not c.is_client or c.state != HELLO_SENT:
            return WRONG_STATE
        if not address_equal(&c.peer_address, peer):
            return WRONG_ADDRESS
        handle = self.handles[c.serial]
        # Our SYNs had the numbers from 0 on.
        if not 0 < int.from_bytes(datagram[26:30], "big") <= c.recovery.next:
            return WRONG_STATE
        number = expand_packet_number(int.from_bytes(datagram[22:26], "big"), c.expected)
        verdict = handle.handshake.handle_server_hello(datagram, number)
        if verdict != VerdictName.ACCEPTED:
            return <Verdict> (<int> verdict)
        replay_commit(&c.replay, number)
        c.expected = number + 1
        memcpy(c.peer_id, PyBytes_AS_STRING(handle.handshake.server_id), 16)
        read_peer(&c.peer, handle.handshake.server_params)
        c.close_reason_bytes = 0
        advance_connection(&c.state, VERIFY_HELLO)
        self.start(handle, handle.handshake.secrets.client, handle.handshake.secrets.server, now_ns)
        c.events |= EVENT_CONNECTED
        c.repeat_ns = 0
        self.send_hello(handle, now_ns)
        return ACCEPTED

    cdef int start(self, Connection handle, bytes seal_secret, bytes open_secret, int64_t now_ns) except -1:
        """Install the traffic keys and start recovery."""
        cdef Conn* c = handle.c
        handle.secrets = handle.handshake.secrets
        if not keys_install(&c.keys, handle.secrets.suite, <const uint8_t*> PyBytes_AS_STRING(seal_secret),
                            <const uint8_t*> PyBytes_AS_STRING(open_secret)):
            raise MemoryError
        if not conn_start_traffic(c, now_ns, int.from_bytes(self.entropy(8), "big")):
            raise MemoryError
        return 0

    cdef Verdict handle_finished(self, bytes datagram, const Address* peer, int64_t now_ns) except *:
        """A client finished at a server."""
        cdef Conn* c = self.find(<const uint8_t*> PyBytes_AS_STRING(datagram) + 6)
        cdef Connection handle
        cdef uint64_t number
        cdef bytes token, early
        cdef Header header
        if c == NULL:
            return UNKNOWN_ID
        if c.is_client or c.state != HELLO_ANSWERED:
            return WRONG_STATE
        if not address_equal(&c.peer_address, peer):
            return WRONG_ADDRESS
        handle = self.handles[c.serial]
        number = expand_packet_number(int.from_bytes(datagram[22:26], "big"), c.expected)
        if replay_check(&c.replay, number) != REPLAY_FRESH:
            return REPLAYED
        verdict = handle.handshake.handle_finished(datagram, number)
        if verdict != VerdictName.ACCEPTED:
            return <Verdict> (<int> verdict)
        replay_commit(&c.replay, number)
        if number >= c.expected:
            c.expected = number + 1
        if number != c.hello_number + 1:
            c.hello_ns = 0
        advance_connection(&c.state, VERIFY_FINISHED)
        self.start(handle, handle.handshake.secrets.server, handle.handshake.secrets.client, now_ns)
        token = hmac.digest(self.reset_secret, (<const uint8_t*> c.own_id)[:16], "sha256")[:16]
        memcpy(c.reset_token, PyBytes_AS_STRING(token), 16)
        c.owes |= OWES_DONE
        c.events |= EVENT_CONNECTED
        c.handshake_at_ns = 0
        c.half_open = False
        self.half_open -= 1
        handle.handshake = None
        while c.early.count:
            early = PyBytes_FromStringAndSize(NULL, inbox_first_length(&c.early))
            inbox_pop(&c.early, <uint8_t*> PyBytes_AS_STRING(early))
            if parse_header(<const uint8_t*> PyBytes_AS_STRING(early), len(early), &header) == ACCEPTED:
                # A fresh bytes object that nobody else has seen: it may be opened in place.
                conn_handle_packet(c, &header, <uint8_t*> PyBytes_AS_STRING(early), <uint32_t> len(early), 0, now_ns)
        inbox_clear(&c.early)
        self.touch(c)
        return ACCEPTED

    # -- time --------------------------------------------------------------------------------------------------

    cdef void handle_timers(self, int64_t now_ns) noexcept nogil:
        """Do what is due for every connection whose time has come."""
        cdef Conn* c
        while self.heap.count and self.heap.items[0].timer_ns <= now_ns:
            c = self.heap.items[0]
            heap_remove(&self.heap, c)
            conn_handle_timeout(c, now_ns)
            if c.state < CLOSING and c.repeat_at_ns and c.repeat_at_ns <= now_ns:
                with gil:
                    self.repeat(c.serial, now_ns)
            self.touch(c)

    cdef void repeat(self, uint64_t serial, int64_t now_ns) noexcept:
        handle = self.handles.get(serial)
        if handle is not None:
            self.send_hello(handle, now_ns)

    cdef int64_t next_timer(self) noexcept nogil:
        return self.heap.items[0].timer_ns if self.heap.count else 0

    cpdef object reap(self):
        """Return the connections with events, new ones among them; forget those that are CLOSED."""
        cdef uint32_t n
        cdef Conn* c
        cdef Connection handle
        cdef list found = []
        for n in range(self.ready.count):
            c = self.ready.items[n]
            c.is_ready = False
            handle = self.handles.get(c.serial)
            if handle is not None:
                found.append(handle)
            if c.handshake_at_ns == 0 and handle is not None and c.state != HELLO_SENT:
                handle.handshake = None
            if c.state == CLOSED and handle is not None:
                self.forget(handle)
        self.ready.count = 0
        return found

    cdef int forget(self, Connection handle) except -1:
        cdef Conn* c = handle.c
        del self.handles[c.serial]
        if c.is_client:
            self.clients -= 1
        else:
            self.hellos.pop(address_key(&c.peer_address) + (<const uint8_t*> c.peer_id)[:16], None)
            if c.half_open:
                c.half_open = False
                self.half_open -= 1
        self.drop(c)
        return 0

    # -- Python's view: the simulator, tests, and the asyncio side ---------------------------------------------

    def address_of(self, handle: Connection) -> tuple[str, int]:
        """Return (host, port) of the peer of *handle*."""
        cdef Connection known = handle
        return address_to_python(&known.c.peer_address)

    def handle_datagram(self, datagram: bytes, source: tuple[str, int], now_ns: int, ecn: int = 0) -> None:
        """Process one datagram that came from (numeric host, port)."""
        cdef Address peer
        cdef bytearray copy
        address_from_python(&peer, source)
        if not datagram:
            self.drops[1] += 1
            self.datagrams_received += 1
            return
        copy = bytearray(datagram)
        self.handle_train(copy, <uint32_t> len(copy), <uint32_t> len(copy), &peer, ecn, now_ns)
        if self.backlog.count:
            self.process_backlog(now_ns)

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due at *now_ns*."""
        self.handle_timers(now_ns)

    def next_timeout(self) -> int | None:
        """Return when `handle_timeout` should be called next, None for never."""
        return self.next_timer() or None

    def poll_datagrams(self, now_ns: int, limit: int = 4096) -> list[tuple[tuple[str, int], bytes]]:
        """Return up to *limit* datagrams to send, as ((host, port), bytes)."""
        cdef Conn* c
        cdef Address peer
        cdef uint8_t[2048] small
        cdef uint32_t length = 0
        cdef list out = []
        cdef bytearray room = None
        while self.take_outbox(&peer, small, &length):
            out.append((address_to_python(&peer), (<const uint8_t*> small)[:length]))
        while len(out) < limit:
            c = self.next_touched()
            if c == NULL:
                break
            if room is None:
                room = bytearray(MAX_DATAGRAM)
            destination = None
            length = conn_poll(c, room, MAX_DATAGRAM, now_ns)
            while length and len(out) < limit:
                if destination is None:
                    destination = address_to_python(&c.peer_address)
                out.append((destination, bytes(room[:length])))
                length = conn_poll(c, room, MAX_DATAGRAM, now_ns) if len(out) < limit else 0
            if len(out) < limit:
                self.settle(c)
        return out

    def poll_connections(self) -> list[Connection]:
        """Return the connections that have events, or that are new."""
        return self.reap()

    def refuse_new(self) -> None:
        """Accept no further connection."""
        self.is_closed = True

    def connections(self) -> list[Connection]:
        """Return all connections that are not CLOSED."""
        return list(self.handles.values())

    def stats(self) -> dict[str, int]:
        """Return what became of datagrams, by verdict, and the sizes of the tables."""
        counted = {verdict.name.lower(): self.drops[int(verdict)] for verdict in VerdictName if verdict.name != "VERDICTS"}
        return {
            **counted, "datagrams_received": self.datagrams_received, "connections": self.conn_count,
            "half_open": self.half_open, "version_negotiated": self.version_negotiated,
        }
