/* GF2P8AFFINEQB on 64 bytes; what is left at the end is loaded and stored under a mask. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,gfni")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { BYTES = 64, WIDTH = 4 };

typedef __m512i Vector;

/* Sum *width* vectors of *rows* rows at *at*; *mask* holds the lanes of the last vector. *rows*, *width* and
 * *whole* are constants where this is inlined. */
INLINE void block(const GfSum *sum, size_t at, const int rows, const int width, const int whole, __mmask64 mask)
{
    Vector total[GF_ROWS][WIDTH];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) {
            const uint8_t *p = sum->out[r] + at + w * BYTES;
            if (!sum->add)
                total[r][w] = _mm512_setzero_si512();
            else if (whole || w < width - 1)
                total[r][w] = _mm512_loadu_si512(p);
            else
                total[r][w] = _mm512_maskz_loadu_epi8(mask, p);
        }
    }
    const uint8_t *column = sum->matrix;
    for (unsigned c = 0; c < sum->columns; c++, column++) {
        Vector x[WIDTH];
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) {
            const uint8_t *p = sum->in[c] + at + w * BYTES;
            if (whole || w < width - 1)
                x[w] = _mm512_loadu_si512(p);
            else
                x[w] = _mm512_maskz_loadu_epi8(mask, p);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            Vector factor = _mm512_set1_epi64((long long)gf_tables.affine[column[r * sum->stride]]);
#pragma GCC unroll 4
            for (int w = 0; w < width; w++) {
                Vector product = _mm512_gf2p8affine_epi64_epi8(x[w], factor, 0);
                total[r][w] = _mm512_xor_si512(total[r][w], product);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) {
            uint8_t *p = sum->out[r] + at + w * BYTES;
            if (whole || w < width - 1)
                _mm512_storeu_si512(p, total[r][w]);
            else
                _mm512_mask_storeu_epi8(p, mask, total[r][w]);
        }
    }
}

INLINE void rows_sum(const GfSum *sum, size_t offset, size_t length, const int rows)
{
    for (; length >= WIDTH * BYTES; offset += WIDTH * BYTES, length -= WIDTH * BYTES)
        block(sum, offset, rows, WIDTH, 1, 0);
    if (length == 0)
        return;
    __mmask64 mask = ~(__mmask64)0 >> (-length % BYTES);
    switch ((length - 1) / BYTES) {
    case 0: block(sum, offset, rows, 1, 0, mask); break;
    case 1: block(sum, offset, rows, 2, 0, mask); break;
    case 2: block(sum, offset, rows, 3, 0, mask); break;
    case 3: block(sum, offset, rows, 4, 0, mask); break;
    }
}

TARGET static void gfni_avx512_sum(const GfSum *sum, size_t offset, size_t length)
{
    switch (sum->rows) {
    case 1: rows_sum(sum, offset, length, 1); break;
    case 2: rows_sum(sum, offset, length, 2); break;
    case 3: rows_sum(sum, offset, length, 3); break;
    case 4: rows_sum(sum, offset, length, 4); break;
    }
}

const GfKernel gf_gfni_avx512 = {"gfni-avx512", gfni_avx512_sum};
#endif
