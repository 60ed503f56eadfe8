/* The tables of the field, and which kernel this processor runs. */
#include "kernels.h"

#include <string.h>

/* Inputs that are read again for the next rows should still be in the first-level cache. */
enum { KEEP_BYTES = 32768, STEP_BYTES = 256 };

GfTables gf_tables;

static const GfKernel *usable[5];
static const GfKernel *used = &gf_portable;

static uint8_t multiply(unsigned a, unsigned b)
{
    return a && b ? gf_tables.exp[gf_tables.log[a] + gf_tables.log[b]] : 0;
}

static void fill_tables(void)
{
    unsigned value = 1;
    for (unsigned i = 0; i < 255; i++) {
        gf_tables.exp[i] = gf_tables.exp[i + 255] = (uint8_t)value;
        gf_tables.log[value] = (uint8_t)i;
        value <<= 1;
        if (value & 0x100)
            value ^= 0x11D;
    }
    for (unsigned factor = 0; factor < GF_ORDER; factor++) {
        uint64_t affine = 0;
        for (unsigned i = 0; i < 16; i++) {
            gf_tables.nibble[factor][i] = multiply(factor, i);
            gf_tables.nibble[factor][16 + i] = multiply(factor, i << 4);
        }
        /* Byte 7 - i holds the input bits whose parity is output bit i. */
        for (unsigned input = 0; input < 8; input++)
            for (unsigned i = 0; i < 8; i++)
                if (multiply(factor, 1u << input) >> i & 1)
                    affine |= (uint64_t)1 << (8 * (7 - i) + input);
        gf_tables.affine[factor] = affine;
    }
}

void gf_start(void)
{
    unsigned count = 0;
    fill_tables();
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("gfni")) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
            usable[count++] = &gf_gfni_avx512;
        if (__builtin_cpu_supports("avx2"))
            usable[count++] = &gf_gfni_avx2;
    }
    if (__builtin_cpu_supports("avx2"))
        usable[count++] = &gf_avx2;
    if (__builtin_cpu_supports("ssse3"))
        usable[count++] = &gf_ssse3;
#endif
    usable[count] = &gf_portable;
    used = usable[0];
}

const char *gf_kernel_name(unsigned i)
{
    return i < sizeof usable / sizeof usable[0] && usable[i] ? usable[i]->name : NULL;
}

int gf_use(const char *name)
{
    for (unsigned i = 0; gf_kernel_name(i); i++) {
        if (strcmp(usable[i]->name, name) == 0) {
            used = usable[i];
            return 1;
        }
    }
    return 0;
}

const char *gf_used(void)
{
    return used->name;
}

void gf_dot(const GfSum *sum, size_t offset, size_t length)
{
    if (sum->rows <= GF_ROWS) {
        used->sum(sum, offset, length);
        return;
    }
    size_t step = sum->columns ? KEEP_BYTES / sum->columns / STEP_BYTES * STEP_BYTES : KEEP_BYTES;
    if (step < STEP_BYTES)
        step = STEP_BYTES;
    while (length) {
        size_t part = length < step ? length : step;
        for (unsigned row = 0; row < sum->rows; row += GF_ROWS) {
            GfSum some = *sum;
            some.out += row;
            some.matrix += row * sum->stride;
            some.rows = sum->rows - row < GF_ROWS ? sum->rows - row : GF_ROWS;
            used->sum(&some, offset, part);
        }
        offset += part;
        length -= part;
    }
}
