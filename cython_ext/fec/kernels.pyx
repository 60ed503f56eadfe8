"""The kernels of GF(2^8) as one function, and the choice among them; the contract is in kernels.pxd."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

cdef extern from "kernels.h":
    ctypedef struct GfTables:
        uint8_t[510] exp
        uint8_t[256] log
    ctypedef struct GfSum:
        const uint8_t* const* sources "in"
        uint8_t* const* out
        const uint8_t* matrix
        size_t stride
        unsigned int rows, columns
        int add
    GfTables gf_tables
    void gf_start() nogil
    const char* gf_kernel_name(unsigned int i) nogil
    int gf_use(const char* name) nogil
    const char* gf_used() nogil
    void gf_dot(const GfSum* sum, size_t offset, size_t length) nogil

gf_start()


def available_kernels():
    """Return the names of the kernels that this processor can run, best first."""
    cdef unsigned int i = 0
    names = []
    while gf_kernel_name(i) != NULL:
        names.append(gf_kernel_name(i).decode())
        i += 1
    return tuple(names)


def kernel_in_use():
    """Return the name of the kernel that all codes of this process use."""
    return gf_used().decode()


def use_kernel(str name not None):
    """Make every code of this process use another kernel; for tests and benchmarks.

    Not while another thread encodes or decodes.

    Raises:
        ValueError: no kernel of that name runs on this processor.
    """
    if not gf_use(name.encode()):
        known = ", ".join(available_kernels())
        raise ValueError(f"no kernel called {name!r} runs on this processor; known: {known}")


cdef void gf_sum_of_products(
    const uint8_t* const* sources, unsigned int columns, const uint8_t* matrix, size_t stride,
    uint8_t* const* outputs, unsigned int rows, size_t offset, size_t length, bint add,
) noexcept nogil:
    cdef GfSum total
    total.sources = sources
    total.out = outputs
    total.matrix = matrix
    total.stride = stride
    total.rows = rows
    total.columns = columns
    total.add = add
    gf_dot(&total, offset, length)


cdef const uint8_t* gf_powers() noexcept nogil:
    return gf_tables.exp


cdef const uint8_t* gf_logarithms() noexcept nogil:
    return gf_tables.log
