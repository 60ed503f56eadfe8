/* Shifts and masks on 64-bit words, for any processor: the multiples of an input by powers of two are shared by
 * all rows. The words are paired in a generic vector, which a compiler maps to what the processor has. */
#include "kernels.h"

#include <string.h>

typedef uint64_t Words __attribute__((vector_size(16)));

enum { COUNT = 8, BYTES = COUNT * sizeof(Words) };

static const uint64_t ONES = 0x0101010101010101u;

static inline Words doubled(Words x)
{
    Words carry = x >> 7 & ONES;
    return (x & 0x7F * ONES) << 1 ^ (((carry << 8) - carry) & 0x1D * ONES);
}

static inline __attribute__((always_inline)) void block(const GfSum *sum, size_t at, size_t bytes)
{
    Words total[GF_ROWS][COUNT], x[COUNT];
    const int count = (int)((bytes + sizeof(Words) - 1) / sizeof(Words));
    memset(total, 0, sizeof total);
    memset(x, 0, sizeof x);
    for (unsigned r = 0; sum->add && r < sum->rows; r++)
        memcpy(total[r], sum->out[r] + at, bytes);
    for (unsigned c = 0; c < sum->columns; c++) {
        unsigned bits = 0;
        for (unsigned r = 0; r < sum->rows; r++)
            bits |= sum->matrix[r * sum->stride + c];
        memcpy(x, sum->in[c] + at, bytes);
        for (unsigned bit = 0; bits >> bit; bit++) {
            for (unsigned r = 0; r < sum->rows; r++)
                if (sum->matrix[r * sum->stride + c] >> bit & 1)
                    for (int w = 0; w < count; w++)
                        total[r][w] ^= x[w];
            for (int w = 0; w < count; w++)
                x[w] = doubled(x[w]);
        }
    }
    for (unsigned r = 0; r < sum->rows; r++)
        memcpy(sum->out[r] + at, total[r], bytes);
}

static void portable_sum(const GfSum *sum, size_t offset, size_t length)
{
    for (; length >= BYTES; offset += BYTES, length -= BYTES)
        block(sum, offset, BYTES);
    if (length)
        block(sum, offset, length);
}

const GfKernel gf_portable = {"portable", portable_sum};
