/* The kernel for vectors without masks, written once. Before it is included, a file defines:
 *
 *   TARGET                  the attribute that enables its instructions
 *   Vector, BYTES           the vector and its size
 *   load, store, both, plus unaligned load and store, AND, XOR
 *   Source, source(Vector)  an input made ready to be multiplied
 *   Factor, factor(uint8_t) a coefficient made ready
 *   product(Source, Factor)
 *
 * and after it: const GfKernel x = {"name", vector_sum}.
 */
#define INLINE TARGET static inline __attribute__((always_inline))
#define WIDTH 2

/* Sum *width* vectors of *rows* rows at *at*; both are constants where this is inlined. Of an input only the
 * lanes in *lanes* count, where it is given. */
INLINE void block(const GfSum *sum, size_t at, const int rows, const int width, const uint8_t *lanes)
{
    Vector total[GF_ROWS][WIDTH];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int w = 0; w < width; w++)
            total[r][w] = sum->add ? load(sum->out[r] + at + w * BYTES) : (Vector){0};
    const uint8_t *column = sum->matrix;
    for (unsigned c = 0; c < sum->columns; c++, column++) {
        Source x[WIDTH];
#pragma GCC unroll 2
        for (int w = 0; w < width; w++) {
            Vector v = load(sum->in[c] + at + w * BYTES);
            x[w] = source(lanes ? both(v, load(lanes)) : v);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            Factor f = factor(column[r * sum->stride]);
#pragma GCC unroll 2
            for (int w = 0; w < width; w++)
                total[r][w] = plus(total[r][w], product(x[w], f));
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int w = 0; w < width; w++)
            store(sum->out[r] + at + w * BYTES, total[r][w]);
}

INLINE void rows_sum(const GfSum *sum, size_t offset, size_t length, const int rows)
{
    static const uint8_t window[2 * BYTES] = {[BYTES ... 2 * BYTES - 1] = 0xFF};
    size_t at = 0;
    for (; length - at >= WIDTH * BYTES; at += WIDTH * BYTES)
        block(sum, offset + at, rows, WIDTH, NULL);
    if (length - at >= BYTES) {
        block(sum, offset + at, rows, 1, NULL);
        at += BYTES;
    }
    /* The last vector ends with the shard and overlaps the one before, whose lanes must not be added twice. */
    if (at < length)
        block(sum, offset + length - BYTES, rows, 1, sum->add ? window + (length - at) : NULL);
}

TARGET static void vector_sum(const GfSum *sum, size_t offset, size_t length)
{
    if (length < BYTES)
        gf_portable.sum(sum, offset, length);
    else if (sum->rows == 1)
        rows_sum(sum, offset, length, 1);
    else if (sum->rows == 2)
        rows_sum(sum, offset, length, 2);
    else if (sum->rows == 3)
        rows_sum(sum, offset, length, 3);
    else if (sum->rows == 4)
        rows_sum(sum, offset, length, 4);
}
