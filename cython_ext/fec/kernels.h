/* Sums of products over GF(2^8), polynomial 0x11D: one contract, several instruction sets.
 *
 * Knows nothing of codes or packets. A kernel writes at most GF_ROWS outputs at a time, so that they stay
 * in registers while every input is read once. No pointer needs an alignment; no byte outside
 * [offset, offset + length) of an input or output is written, and none outside it is read. Outputs
 * overlap neither inputs nor each other.
 */
#ifndef QUANTUM_FEC_KERNELS_H
#define QUANTUM_FEC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { GF_ROWS = 4, GF_ORDER = 256 };

typedef struct {
    uint8_t exp[510];               /* exp[i] = 2^i; twice the cycle, so that a sum of two logs needs no modulo */
    uint8_t log[GF_ORDER];          /* log[0] is never read */
    _Alignas(64) uint64_t affine[GF_ORDER];    /* per factor: the bit matrix that GF2P8AFFINEQB takes */
    _Alignas(64) uint8_t nibble[GF_ORDER][32]; /* per factor: products of 0..15, then of 0, 16, .. 240 */
} GfTables;

/* out[r] = (add ? out[r] : 0) + sum over c of matrix[r * stride + c] * in[c], for r < rows <= GF_ROWS. */
typedef struct {
    const uint8_t *const *in;
    uint8_t *const *out;
    const uint8_t *matrix;
    size_t stride;
    unsigned rows, columns;
    int add;
} GfSum;

typedef struct {
    const char *name;
    void (*sum)(const GfSum *sum, size_t offset, size_t length);
} GfKernel;

extern GfTables gf_tables;

extern const GfKernel gf_portable;
#if defined(__x86_64__)
extern const GfKernel gf_ssse3, gf_avx2, gf_gfni_avx2, gf_gfni_avx512;
#endif

/* Fill the tables and choose the best kernel; once, before any other call. */
void gf_start(void);

/* The name of the i-th kernel that this processor can run, best first; NULL past the last. */
const char *gf_kernel_name(unsigned i);

/* Change the kernel; 0 when this processor cannot run one of that name. Not while another thread computes. */
int gf_use(const char *name);
const char *gf_used(void);

/* The same sum for any number of rows, over [0, length) by the chosen kernel. */
void gf_dot(const GfSum *sum, size_t offset, size_t length);

#endif
