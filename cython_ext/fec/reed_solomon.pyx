"""Encoding, adding and rebuilding of shards; the contract and the algebra are in reed_solomon.pxd."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from cython_ext.fec.kernels cimport gf_logarithms, gf_powers, gf_sum_of_products

cdef enum:
    ROWS = 4                    # outputs that a kernel computes together
    CACHE_BYTES = 65536         # aim for the cached matrices of one code
    CACHE_SETS = 64
    INVERSE_BYTES = 16384       # the largest matrix of a decode: min(k, m) rows of k, with k + m <= MAX_SHARDS

cdef const uint8_t* POWERS = gf_powers()
cdef const uint8_t* LOGARITHMS = gf_logarithms()


cdef bint code_start(Code* code, uint32_t data_shards, uint32_t parity_shards) noexcept nogil:
    cdef uint32_t row
    cdef size_t inverse_bytes
    memset(code, 0, sizeof(Code))
    if data_shards < 1 or parity_shards < 1 or data_shards > MAX_SHARDS:
        return False
    if parity_shards > MAX_SHARDS - data_shards:
        return False
    code.data_shards = data_shards
    code.parity_shards = parity_shards
    inverse_bytes = <size_t> min(data_shards, parity_shards) * data_shards
    code.sets = CACHE_SETS
    while code.sets > 1 and code.sets * INVERSE_WAYS * inverse_bytes > CACHE_BYTES:
        code.sets //= 2
    code.matrix = <uint8_t*> malloc(<size_t> parity_shards * data_shards)
    code.inverses = <Inverse*> calloc(code.sets * INVERSE_WAYS, sizeof(Inverse))
    code.inverse_rows = <uint8_t*> malloc(code.sets * INVERSE_WAYS * inverse_bytes)
    if code.matrix == NULL or code.inverses == NULL or code.inverse_rows == NULL:
        code_clear(code)
        return False
    weigh(code)
    for row in range(parity_shards):
        parity_row(code, row, code.matrix + row * data_shards)
    return True


cdef void weigh(Code* code) noexcept nogil:
    cdef uint32_t row, column, sum
    for row in range(code.data_shards + code.parity_shards):
        sum = 0
        for column in range(code.data_shards):
            if column != row:
                sum += LOGARITHMS[row ^ column]
        code.weight[row] = <uint8_t> (sum % 255)


cdef void parity_row(const Code* code, uint32_t row, uint8_t* coefficients) noexcept nogil:
    cdef uint32_t k = code.data_shards, column, sum
    for column in range(k):
        sum = 510 + code.weight[k + row] - code.weight[column] - LOGARITHMS[(k + row) ^ column]
        coefficients[column] = POWERS[sum % 255]


cdef void code_clear(Code* code) noexcept nogil:
    free(code.matrix)
    free(code.inverses)
    free(code.inverse_rows)
    memset(code, 0, sizeof(Code))


cdef void code_encode(
    const Code* code, const uint8_t* const* data, const size_t* lengths,
    uint8_t* const* parities, uint32_t first, uint32_t count, size_t shard_bytes,
) noexcept nogil:
    cdef uint32_t k = code.data_shards
    multiply(code.matrix + <size_t> first * k, k, data, lengths, parities, count, shard_bytes)


cdef void code_add(
    const Code* code, uint32_t index, const uint8_t* data, size_t length,
    uint8_t* const* parities, uint32_t first, uint32_t count,
) noexcept nogil:
    cdef uint32_t k = code.data_shards
    gf_sum_of_products(
        &data, 1, code.matrix + <size_t> first * k + index, k, parities, count, 0, length, True
    )


cdef bint code_decode(
    Code* code, const uint8_t* const* shards, const size_t* lengths,
    uint8_t* const* rebuilt, size_t shard_bytes,
) noexcept nogil:
    return decode(code, shards, lengths, rebuilt, shard_bytes, True)


cdef void encode_once(
    uint32_t k, const uint8_t* const* data, const size_t* lengths,
    uint8_t* const* parities, uint32_t count, size_t shard_bytes,
) noexcept nogil:
    cdef Code code
    cdef uint32_t row = 0, n, rows
    cdef uint8_t[ROWS * MAX_SHARDS] some
    code.data_shards = k
    code.parity_shards = count
    weigh(&code)
    while row < count:
        rows = min(count - row, <uint32_t> ROWS)
        for n in range(rows):
            parity_row(&code, row + n, some + n * k)
        multiply(some, k, data, lengths, parities + row, rows, shard_bytes)
        row += rows


cdef bint decode_once(
    uint32_t k, uint32_t m, const uint8_t* const* shards, const size_t* lengths,
    uint8_t* const* rebuilt, size_t shard_bytes,
) noexcept nogil:
    cdef Code code
    code.data_shards = k
    code.parity_shards = m
    weigh(&code)
    return decode(&code, shards, lengths, rebuilt, shard_bytes, False)


cdef bint decode(
    Code* code, const uint8_t* const* shards, const size_t* lengths,
    uint8_t* const* rebuilt, size_t shard_bytes, bint remember,
) noexcept nogil:
    cdef uint32_t k = code.data_shards, m = code.parity_shards
    cdef uint32_t column, parity = k, lost = 0
    cdef uint8_t[MAX_SHARDS] points, missing
    cdef uint8_t[INVERSE_BYTES] own_rows
    cdef const uint8_t* sources[MAX_SHARDS]
    cdef size_t[MAX_SHARDS] source_lengths
    cdef uint8_t* outputs[MAX_SHARDS]
    cdef const uint8_t* rows
    for column in range(k):
        points[column] = <uint8_t> column
        # A parity takes the column of a lost shard.
        if shards[column] == NULL:
            while parity < k + m and shards[parity] == NULL:
                parity += 1
            if parity == k + m:
                return False
            points[column] = <uint8_t> parity
            missing[lost] = <uint8_t> column
            outputs[lost] = rebuilt[column]
            lost += 1
            parity += 1
        sources[column] = shards[points[column]]
        if lengths != NULL:
            source_lengths[column] = lengths[points[column]]
    if lost == 0:
        return True
    if lost == 1 or not remember:
        # One row costs less to compute than to look for.
        invert(code, points, missing, lost, own_rows)
        rows = own_rows
    else:
        rows = inverse(code, points, missing, lost)
    multiply(
        rows, k, sources, source_lengths if lengths != NULL else NULL, outputs, lost, shard_bytes
    )
    return True


cdef void invert(
    const Code* code, const uint8_t* points, const uint8_t* missing, uint32_t lost, uint8_t* rows,
) noexcept nogil:
    """Write *lost* rows that give the missing shards from those at *points*."""
    cdef uint32_t k = code.data_shards, column, row, other
    cdef uint8_t x
    cdef uint32_t[MAX_SHARDS] weight    # per column: log of the product of x - t over the other points t
    cdef uint32_t target
    for column in range(k):
        weight[column] = reweigh(code, points[column], points, missing, lost)
    for row in range(lost):
        x = missing[row]
        target = reweigh(code, x, points, missing, lost)
        for column in range(k):
            other = LOGARITHMS[x ^ points[column]] + weight[column]
            rows[row * k + column] = POWERS[(target + 510 - other) % 255]


cdef inline uint32_t reweigh(
    const Code* code, uint8_t x, const uint8_t* points, const uint8_t* missing, uint32_t lost,
) noexcept nogil:
    """Return the log of the product of x - t over the points t other than x.

    The products over all data points are known; those that are missing leave it, and the parities
    in their columns enter it.
    """
    cdef uint32_t n, sum = code.weight[x]
    for n in range(lost):
        if missing[n] != x:
            sum += 255 - LOGARITHMS[missing[n] ^ x]
        if points[missing[n]] != x:
            sum += LOGARITHMS[points[missing[n]] ^ x]
    return sum % 255


cdef const uint8_t* inverse(
    Code* code, const uint8_t* points, const uint8_t* missing, uint32_t lost,
) noexcept nogil:
    """Return the rows for one pattern of erasures, computed or remembered; valid until the next call."""
    cdef uint64_t[4] present
    cdef uint64_t hash
    cdef uint32_t k = code.data_shards, n
    cdef int way
    cdef size_t slot, first
    cdef Inverse* entry
    cdef uint8_t* rows
    memset(present, 0, sizeof(present))
    for n in range(k):
        present[points[n] >> 6] |= <uint64_t> 1 << (points[n] & 63)
    hash = 0
    for n in range(4):
        hash = (hash ^ present[n]) * <uint64_t> 0x9E3779B97F4A7C15
        hash ^= hash >> 32
    first = <size_t> (hash & (code.sets - 1)) * INVERSE_WAYS
    slot = first
    code.decodes += 1
    for way in range(INVERSE_WAYS):
        entry = code.inverses + first + way
        if (
            entry.present[0] == present[0] and entry.present[1] == present[1]
            and entry.present[2] == present[2] and entry.present[3] == present[3]
        ):
            entry.used = code.decodes
            code.inverse_hits += 1
            return code.inverse_rows + (first + way) * min(k, code.parity_shards) * k
        if entry.used < code.inverses[slot].used:
            slot = first + way
    entry = code.inverses + slot
    entry.present = present
    entry.used = code.decodes
    rows = code.inverse_rows + slot * min(k, code.parity_shards) * k
    invert(code, points, missing, lost, rows)
    return rows


cdef void multiply(
    const uint8_t* matrix, uint32_t k, const uint8_t* const* sources, const size_t* lengths,
    uint8_t* const* outputs, uint32_t count, size_t shard_bytes,
) noexcept nogil:
    """Write *count* rows of the matrix times the sources, which may be shorter than the outputs."""
    cdef uint32_t column, row = 0, n, rows, place, alive = 0
    cdef uint8_t[ROWS * MAX_SHARDS] some
    cdef uint8_t[MAX_SHARDS] order
    cdef size_t[MAX_SHARDS] ends
    cdef const uint8_t* longest[MAX_SHARDS]
    cdef size_t at, length
    if lengths != NULL:
        while alive < k and lengths[alive] >= shard_bytes:
            alive += 1
    if lengths == NULL or alive == k:
        gf_sum_of_products(sources, k, matrix, k, outputs, count, 0, shard_bytes, False)
        return
    # Longest first, so that the shards that reach a place are the first ones at every place.
    alive = 0
    for column in range(k):
        length = min(lengths[column], shard_bytes)
        if length == 0:
            continue
        place = alive
        while place and ends[place - 1] < length:
            ends[place] = ends[place - 1]
            order[place] = order[place - 1]
            place -= 1
        ends[place] = length
        order[place] = <uint8_t> column
        alive += 1
    for column in range(alive):
        longest[column] = sources[order[column]]
    while row < count:
        rows = min(count - row, <uint32_t> ROWS)
        for n in range(rows):
            for column in range(alive):
                some[n * MAX_SHARDS + column] = matrix[<size_t> (row + n) * k + order[column]]
        at = 0
        for n in range(alive, 0, -1):
            if ends[n - 1] > at:
                gf_sum_of_products(
                    longest, n, some, MAX_SHARDS, outputs + row, rows, at, ends[n - 1] - at, False
                )
                at = ends[n - 1]
        for n in range(rows):
            memset(outputs[row + n] + at, 0, shard_bytes - at)
        row += rows


# ---- the window for Python ----

class ReedSolomonError(ValueError):
    """A code cannot do what it was asked; the message says what to change."""


class TooManyErasures(ReedSolomonError):
    """More data shards are lost than parity shards are here."""


@cython.internal
@cython.final
cdef class Borrowed:
    """The bytes of a caller's shards, held until this object goes; a shard that is None is NULL."""

    cdef Py_buffer[MAX_SHARDS] views
    cdef const uint8_t* pointers[MAX_SHARDS]
    cdef size_t[MAX_SHARDS] lengths
    cdef uint32_t count

    def __cinit__(self, shards):
        for shard in shards:
            self.pointers[self.count] = NULL
            self.lengths[self.count] = 0
            if shard is not None:
                PyObject_GetBuffer(shard, &self.views[self.count], PyBUF_SIMPLE)
                self.pointers[self.count] = <const uint8_t*> self.views[self.count].buf
                if self.pointers[self.count] == NULL:
                    # An empty buffer may have no address; NULL would mean that the shard is lost.
                    self.pointers[self.count] = POWERS
                self.lengths[self.count] = <size_t> self.views[self.count].len
            self.count += 1

    def __dealloc__(self):
        cdef uint32_t n
        for n in range(self.count):
            if self.pointers[n] != NULL:
                PyBuffer_Release(&self.views[n])


@cython.final
cdef class ReedSolomon:
    """A code of *data_shards* + *parity_shards*, 256 together at most; for tests and tools.

    The transport calls the functions in reed_solomon.pxd. The calls hold the GIL.

    Raises:
        ReedSolomonError: there is no such code.
    """

    cdef Code code
    cdef readonly int data_shards
    cdef readonly int parity_shards

    def __cinit__(self, data_shards: int, parity_shards: int):
        if data_shards < 1 or parity_shards < 1 or data_shards + parity_shards > MAX_SHARDS:
            raise ReedSolomonError(
                f"no code has {data_shards} data and {parity_shards} parity shards: take at least 1 of"
                f" each and at most {MAX_SHARDS} together"
            )
        if not code_start(&self.code, data_shards, parity_shards):
            raise MemoryError
        self.data_shards = data_shards
        self.parity_shards = parity_shards

    def __dealloc__(self):
        code_clear(&self.code)

    @property
    def matrix(self):
        """One row of coefficients, one byte per data shard, for each parity shard."""
        cdef const char* matrix = <const char*> self.code.matrix
        cdef int k = self.data_shards
        return [matrix[row * k:(row + 1) * k] for row in range(self.parity_shards)]

    @property
    def inverse_hits(self):
        """How many decodes of two or more lost shards found their matrix in the cache."""
        return self.code.inverse_hits

    @property
    def inverse_capacity(self):
        """How many matrices the cache holds at most."""
        return self.code.sets * INVERSE_WAYS

    def encode(self, shards, first: int = 0, count: int | None = None, shard_bytes: int | None = None):
        """Return parity shards; data shards that are shorter count as padded with zeros.

        Args:
            shards: every data shard, bytes-like.
            first: index of the first parity wanted.
            count: how many are wanted; all that follow when None.
            shard_bytes: length of a parity shard; that of the longest data shard when None.

        Raises:
            ReedSolomonError: the number of shards is not that of the code, there are no such parities, or
                a shard is longer than *shard_bytes*.
        """
        shards = list(shards)
        if len(shards) != self.data_shards or None in shards:
            given = sum(1 for shard in shards if shard is not None)
            raise ReedSolomonError(
                f"the code has {self.data_shards} data shards, and {given} were given: give each, b'' for"
                " one that does not exist"
            )
        if count is None:
            count = self.parity_shards - first
        if first < 0 or count < 0 or first + count > self.parity_shards:
            raise ReedSolomonError(
                f"parities {first} to {first + count} do not exist: the code has {self.parity_shards}"
            )
        cdef Borrowed data = Borrowed(shards)
        cdef size_t longest = 0
        cdef uint32_t n
        for n in range(data.count):
            longest = max(longest, data.lengths[n])
        if shard_bytes is not None:
            if shard_bytes < <Py_ssize_t> longest:
                raise ReedSolomonError(f"a shard of {longest} bytes does not fit a code of {shard_bytes} byte shards")
            longest = shard_bytes
        cdef uint8_t* outputs[MAX_SHARDS]
        parities = [room(longest, outputs + n) for n in range(count)]
        code_encode(&self.code, data.pointers, data.lengths, outputs, first, count, longest)
        return parities

    def decode(self, shards):
        """Return every data shard; one that was rebuilt is as long as a parity shard.

        Args:
            shards: data shards, then parity shards, bytes-like; None where one is lost. Data shards may be
                shorter than parity shards, and count as padded with zeros.

        Raises:
            TooManyErasures: more data shards are lost than parity shards are here.
            ReedSolomonError: the number of shards is not that of the code, or their lengths do not fit together.
        """
        shards = list(shards)
        if len(shards) != self.data_shards + self.parity_shards:
            raise ReedSolomonError(
                f"the code has {self.data_shards} + {self.parity_shards} shards, and {len(shards)} were given:"
                " give None in the place of each one that is lost"
            )
        lost = [i for i in range(self.data_shards) if shards[i] is None]
        here = sum(1 for shard in shards[self.data_shards:] if shard is not None)
        if len(lost) > here:
            raise TooManyErasures(
                f"{len(lost)} data shards are lost and {here} parity shards are here: at most {here} can be"
                " rebuilt, the others must be sent again"
            )
        cdef Borrowed held = Borrowed(shards)
        cdef size_t shard_bytes = 0
        cdef uint32_t n
        if here == 0:
            return [bytes(shard) for shard in shards[:self.data_shards]]
        for n in range(self.code.data_shards, held.count):
            shard_bytes = max(shard_bytes, held.lengths[n])
        for n in range(held.count):
            if shards[n] is None or held.lengths[n] == shard_bytes:
                continue
            if n >= self.code.data_shards or held.lengths[n] > shard_bytes:
                raise ReedSolomonError(
                    f"shard {n} has {held.lengths[n]} bytes and a parity shard has {shard_bytes}: parity shards are"
                    " equally long, data shards not longer"
                )
        cdef uint8_t* outputs[MAX_SHARDS]
        for n in lost:
            shards[n] = room(shard_bytes, outputs + n)
        code_decode(&self.code, held.pointers, held.lengths, outputs, shard_bytes)
        return [bytes(shard) for shard in shards[:self.data_shards]]


@cython.final
cdef class RunningParity:
    """Parity shards that grow as data shards become known, in any order, each added once.

    Raises:
        ReedSolomonError: *shard_bytes* is negative.
    """

    cdef ReedSolomon reed_solomon
    cdef bytearray storage
    cdef uint8_t* parities[MAX_SHARDS]
    cdef set added
    cdef size_t shard_bytes

    def __cinit__(self, ReedSolomon reed_solomon not None, shard_bytes: int):
        cdef uint32_t n
        if shard_bytes < 0:
            raise ReedSolomonError(f"a shard cannot have {shard_bytes} bytes: take the longest you will add")
        self.reed_solomon = reed_solomon
        self.shard_bytes = shard_bytes
        self.storage = bytearray(shard_bytes * reed_solomon.parity_shards)
        self.added = set()
        for n in range(reed_solomon.code.parity_shards):
            self.parities[n] = <uint8_t*> <char*> self.storage + n * self.shard_bytes

    def add(self, index: int, shard):
        """Add data shard *index*; one shorter than the parities counts as padded with zeros.

        Raises:
            ReedSolomonError: the shard is not one of the code's, was added before, or is too long.
        """
        if not 0 <= index < self.reed_solomon.data_shards:
            raise ReedSolomonError(f"there is no data shard {index}: the last is {self.reed_solomon.data_shards - 1}")
        if index in self.added:
            raise ReedSolomonError(f"data shard {index} was added before: adding it again would take it out")
        cdef Borrowed data = Borrowed((shard,))
        if data.pointers[0] == NULL:
            raise ReedSolomonError("a lost shard cannot be added: give its bytes")
        if data.lengths[0] > self.shard_bytes:
            raise ReedSolomonError(f"a shard of {data.lengths[0]} bytes does not fit parities of {self.shard_bytes}")
        self.added.add(index)
        cdef Code* code = &self.reed_solomon.code
        code_add(code, index, data.pointers[0], data.lengths[0], self.parities, 0, code.parity_shards)

    def shards(self):
        """Return the parity shards of what was added so far, the rest taken as zeros."""
        cdef uint32_t n
        return [
            PyBytes_FromStringAndSize(<char*> self.parities[n], <Py_ssize_t> self.shard_bytes)
            for n in range(self.reed_solomon.code.parity_shards)
        ]


cdef bytes room(size_t size, uint8_t** place):
    """Return new bytes to be filled at *place* before anybody reads them."""
    cdef bytes fresh = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> size)
    place[0] = <uint8_t*> PyBytes_AS_STRING(fresh)
    return fresh
