/* GF2P8AFFINEQB on 32 bytes, for processors with GFNI and no AVX-512. GF2P8MULB would not do: its polynomial
 * is 0x11B. A product by a constant is a linear map of the bits, whatever the polynomial. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,gfni")))
#define BYTES 32
#define HERE TARGET static inline __attribute__((always_inline))

typedef __m256i Vector;
typedef Vector Source;
typedef Vector Factor;

HERE Vector load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
HERE void store(uint8_t *p, Vector v) { _mm256_storeu_si256((__m256i *)p, v); }
HERE Vector both(Vector a, Vector b) { return _mm256_and_si256(a, b); }
HERE Vector plus(Vector a, Vector b) { return _mm256_xor_si256(a, b); }
HERE Source source(Vector v) { return v; }
HERE Factor factor(uint8_t f) { return _mm256_set1_epi64x((long long)gf_tables.affine[f]); }
HERE Vector product(Source x, Factor f) { return _mm256_gf2p8affine_epi64_epi8(x, f, 0); }

#include "kernels_vector.h"

const GfKernel gf_gfni_avx2 = {"gfni-avx2", vector_sum};
#endif
