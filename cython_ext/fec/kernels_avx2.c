/* PSHUFB on 32 bytes: a product is looked up by its low and its high nibble. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define BYTES 32
#define HERE TARGET static inline __attribute__((always_inline))

typedef __m256i Vector;
typedef struct { Vector low, high; } Source;
typedef struct { Vector low, high; } Factor;

HERE Vector load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
HERE void store(uint8_t *p, Vector v) { _mm256_storeu_si256((__m256i *)p, v); }
HERE Vector both(Vector a, Vector b) { return _mm256_and_si256(a, b); }
HERE Vector plus(Vector a, Vector b) { return _mm256_xor_si256(a, b); }

HERE Source source(Vector v)
{
    const Vector mask = _mm256_set1_epi8(15);
    return (Source){_mm256_and_si256(v, mask), _mm256_and_si256(_mm256_srli_epi64(v, 4), mask)};
}

HERE Factor factor(uint8_t f)
{
    const __m128i *table = (const __m128i *)gf_tables.nibble[f];
    Vector low = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
    return (Factor){low, _mm256_broadcastsi128_si256(_mm_loadu_si128(table + 1))};
}

HERE Vector product(Source x, Factor f)
{
    Vector low = _mm256_shuffle_epi8(f.low, x.low);
    return _mm256_xor_si256(low, _mm256_shuffle_epi8(f.high, x.high));
}

#include "kernels_vector.h"

const GfKernel gf_avx2 = {"avx2", vector_sum};
#endif
