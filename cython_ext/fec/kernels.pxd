"""Arithmetic of GF(2^8), polynomial 0x11D, by the best instructions that the processor has.

Knows nothing of codes, shards or packets. The kernels are C (kernels.h); each instruction set has a file
of its own, and all give the same bytes. One is chosen at import, for the whole process.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


# For r < rows, over the bytes [offset, offset + length): outputs[r] becomes the sum over c < columns of
# matrix[r * stride + c] * sources[c], and what it was if *add*. No byte outside that range is touched.
# Outputs overlap neither sources nor each other; nothing needs an alignment.
cdef void gf_sum_of_products(
    const uint8_t* const* sources, unsigned int columns, const uint8_t* matrix, size_t stride,
    uint8_t* const* outputs, unsigned int rows, size_t offset, size_t length, bint add,
) noexcept nogil

# Constant tables, alive as long as the process: powers of two (510, two cycles) and logarithms (256; that of
# 0 means nothing).
cdef const uint8_t* gf_powers() noexcept nogil
cdef const uint8_t* gf_logarithms() noexcept nogil
