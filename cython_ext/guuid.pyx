"""Generator and parser of UUIDv7; the layout and its reasons are in guuid.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_CheckExact, PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint64_t

ctypedef uint64_t (*ClockFunction)() noexcept nogil

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)

cdef const char* CLOCK_FUNCTION = "uint64_t (*)(void)"
cdef const char* DIGITS = "0123456789abcdef"
cdef enum:
    POOL_BYTES = 4096


@cython.final
cdef class Generator:
    """Makes UUIDv7s that strictly grow, in the order of the calls.

    Args:
        random: called with a number of bytes, returns that many random bytes; asked for 4,096 at a
            time, and what is not used stays in memory until it is.
        clock_ns: returns Unix time in nanoseconds. A capsule of a C function, like
            `cython_ext.clock.UNIX_NS`, is called without the detour through Python.
    """

    cdef Sequence _sequence
    cdef object _random
    cdef object _clock_ns
    cdef ClockFunction _clock       # of a capsule; NULL when the clock is Python's
    cdef bytes _pool
    cdef Py_ssize_t _at

    def __cinit__(self, random, clock_ns):
        self._random = random
        self._clock_ns = clock_ns
        if PyCapsule_CheckExact(clock_ns):
            self._clock = <ClockFunction> PyCapsule_GetPointer(clock_ns, CLOCK_FUNCTION)
        self._pool = b""

    # A plain built-in method is called in half the time of one that looks like Python's.
    @cython.binding(False)
    def new(self):
        """Return the next id as 16 bytes."""
        cdef uint8_t id[16]
        self._next(id)
        return PyBytes_FromStringAndSize(<char*> id, 16)

    def text(self):
        """Return the next id in the usual form of 36 characters."""
        cdef uint8_t id[16]
        self._next(id)
        return _format(id)

    def reseed(self):
        """Throw unused randomness away; a forked child must, or it repeats its parent's ids."""
        self._pool = b""
        self._at = 0

    cdef int _next(self, uint8_t* id) except -1:
        cdef uint64_t now_ms
        if self._clock != NULL:
            now_ms = self._clock() // 1_000_000
        else:
            now_ms = <uint64_t> self._clock_ns() // 1_000_000
        # A loop, since another thread may use up the pool while this one is filling it.
        while PyBytes_GET_SIZE(self._pool) - self._at < FRESH_BYTES:
            pool = self._random(POOL_BYTES)
            if not isinstance(pool, bytes) or len(pool) < FRESH_BYTES:
                raise TypeError("the random source must return as many bytes as it was asked for")
            self._pool = pool
            self._at = 0
        self._at = self._at + sequence_next(
            &self._sequence, now_ms, <uint8_t*> PyBytes_AS_STRING(self._pool) + self._at, id
        )
        return 0


def parse(text not None):
    """Read a UUIDv7 in its usual form, or as 32 hexadecimal digits, in either case.

    Raises:
        ValueError: *text* is not a UUIDv7; the message says why.
    """
    cdef uint8_t id[16]
    cdef Py_ssize_t i
    cdef int digits = 0
    cdef Py_UCS4 character
    cdef int value
    cdef str string
    if not isinstance(text, str):
        raise ValueError(f"a UUIDv7 is text, not {type(text).__name__}")
    string = text
    if len(string) == 36 or len(string) == 32:
        for i in range(len(string)):
            character = string[i]
            if len(string) == 36 and (i == 8 or i == 13 or i == 18 or i == 23):
                if character != u"-":
                    break
                continue
            value = _digit(character)
            if value < 0:
                break
            if digits & 1:
                id[digits >> 1] = <uint8_t> (id[digits >> 1] << 4 | value)
            else:
                id[digits >> 1] = <uint8_t> value
            digits += 1
    if digits != 32:
        raise ValueError(f"{text!r} is not a UUID: 32 hexadecimal digits are needed")
    if not is_version_7(id):
        raise ValueError(f"{text!r} is a UUID of another version; version 7 is needed")
    return PyBytes_FromStringAndSize(<char*> id, 16)


def text_of(bytes id not None):
    """Return 16 bytes in the usual form of 36 characters.

    Raises:
        ValueError: *id* is not 16 bytes long.
    """
    _check(id)
    return _format(<uint8_t*> PyBytes_AS_STRING(id))


def unix_ms(bytes id not None):
    """Return the Unix time in ms at which a UUIDv7 was made.

    Raises:
        ValueError: *id* is not 16 bytes long, or not a UUIDv7.
    """
    _check(id)
    if not is_version_7(<uint8_t*> PyBytes_AS_STRING(id)):
        raise ValueError("only a UUID of version 7 carries its time")
    return unix_ms_of(<uint8_t*> PyBytes_AS_STRING(id))


cdef int _check(bytes id) except -1:
    if PyBytes_GET_SIZE(id) != 16:
        raise ValueError(f"a UUID has 16 bytes, not {PyBytes_GET_SIZE(id)}")
    return 0


cdef object _format(const uint8_t* id):
    cdef object text = PyUnicode_New(36, 127)
    cdef char* out = <char*> PyUnicode_DATA(text)
    cdef int i
    cdef int at = 0
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            out[at] = c"-"
            at += 1
        out[at] = DIGITS[id[i] >> 4]
        out[at + 1] = DIGITS[id[i] & 15]
        at += 2
    return text


cdef inline int _digit(Py_UCS4 character) noexcept:
    if u"0" <= character <= u"9":
        return <int> character - <int> u"0"
    if u"a" <= character <= u"f":
        return <int> character - <int> u"a" + 10
    if u"A" <= character <= u"F":
        return <int> character - <int> u"A" + 10
    return -1
