/* PSHUFB on 16 bytes: a product is looked up by its low and its high nibble. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("ssse3")))
#define BYTES 16
#define HERE TARGET static inline __attribute__((always_inline))

typedef __m128i Vector;
typedef struct { Vector low, high; } Source;
typedef struct { Vector low, high; } Factor;

HERE Vector load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
HERE void store(uint8_t *p, Vector v) { _mm_storeu_si128((__m128i *)p, v); }
HERE Vector both(Vector a, Vector b) { return _mm_and_si128(a, b); }
HERE Vector plus(Vector a, Vector b) { return _mm_xor_si128(a, b); }

HERE Source source(Vector v)
{
    const Vector mask = _mm_set1_epi8(15);
    return (Source){_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi64(v, 4), mask)};
}

HERE Factor factor(uint8_t f)
{
    const uint8_t *table = gf_tables.nibble[f];
    return (Factor){load(table), load(table + 16)};
}

HERE Vector product(Source x, Factor f)
{
    return _mm_xor_si128(_mm_shuffle_epi8(f.low, x.low), _mm_shuffle_epi8(f.high, x.high));
}

#include "kernels_vector.h"

const GfKernel gf_ssse3 = {"ssse3", vector_sum};
#endif
