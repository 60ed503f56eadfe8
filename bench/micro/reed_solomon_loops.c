/* Loops for bench_reed_solomon.py, so that no call from Python is measured. Each returns nanoseconds per round.
 *
 * A pattern is k + m pointers, NULL where a shard is lost. ISA-L is given what its own example does per decode:
 * invert the rows of the survivors, expand tables, multiply.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { SHARDS = 256 };

typedef void Encode(const void *code, const uint8_t *const *data, const size_t *lengths, uint8_t *const *parities,
                    uint32_t first, uint32_t count, size_t shard_bytes);
typedef void Add(const void *code, uint32_t index, const uint8_t *data, size_t length, uint8_t *const *parities,
                 uint32_t first, uint32_t count);
typedef int Decode(void *code, const uint8_t *const *shards, const size_t *lengths, uint8_t *const *rebuilt,
                   size_t shard_bytes);

typedef struct {
    void (*init_tables)(int k, int rows, unsigned char *matrix, unsigned char *tables);
    void (*encode_data)(int length, int k, int rows, unsigned char *tables, unsigned char **data, unsigned char **out);
    int (*invert_matrix)(unsigned char *in, unsigned char *out, int n);
} IsaL;

static double nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

double encode(Encode *call, const void *code, const uint8_t *const *data, uint8_t *const *parities, uint32_t m,
              size_t shard_bytes, long rounds)
{
    double start = nanoseconds();
    for (long n = 0; n < rounds; n++)
        call(code, data, NULL, parities, 0, m, shard_bytes);
    return (nanoseconds() - start) / rounds;
}

double add(Add *call, const void *code, const uint8_t *const *data, uint8_t *const *parities, uint32_t k, uint32_t m,
           size_t shard_bytes, long rounds)
{
    double start = nanoseconds();
    for (long n = 0; n < rounds; n++)
        for (uint32_t index = 0; index < k; index++)
            call(code, index, data[index], shard_bytes, parities, 0, m);
    return (nanoseconds() - start) / rounds;
}

double decode(Decode *call, void *code, const uint8_t *const *patterns, long count, uint32_t shards,
              uint8_t *const *rebuilt, size_t shard_bytes, long rounds)
{
    double start = nanoseconds();
    for (long n = 0; n < rounds; n++)
        if (!(call(code, patterns + n % count * shards, NULL, rebuilt, shard_bytes) & 1))
            return -1;
    return (nanoseconds() - start) / rounds;
}

double isal_encode(const IsaL *isal, unsigned char *matrix, unsigned char **data, unsigned char **parities, int k,
                   int m, int shard_bytes, long rounds)
{
    static unsigned char tables[32 * SHARDS * SHARDS / 4];
    isal->init_tables(k, m, matrix + k * k, tables);
    double start = nanoseconds();
    for (long n = 0; n < rounds; n++)
        isal->encode_data(shard_bytes, k, m, tables, data, parities);
    return (nanoseconds() - start) / rounds;
}

double isal_decode(const IsaL *isal, unsigned char *matrix, unsigned char **patterns, long count, int k, int m,
                   unsigned char **rebuilt, int shard_bytes, int invert, long rounds)
{
    static unsigned char rows[SHARDS * SHARDS], inverse[SHARDS * SHARDS], wanted[SHARDS * SHARDS];
    static unsigned char tables[32 * SHARDS * SHARDS / 4];
    unsigned char *sources[SHARDS], *outputs[SHARDS];
    double start = nanoseconds();
    for (long n = 0; n < rounds; n++) {
        unsigned char **shards = patterns + n % count * (k + m);
        int lost = 0, here = 0;
        for (int i = 0; i < k + m && here < k; i++) {
            if (shards[i]) {
                memcpy(rows + here * k, matrix + i * k, k);
                sources[here++] = shards[i];
            }
        }
        if (n == 0 || invert) {
            if (isal->invert_matrix(rows, inverse, k) < 0)
                return -1;
            for (int i = 0; i < k; i++)
                if (!shards[i])
                    memcpy(wanted + lost++ * k, inverse + i * k, k);
            isal->init_tables(k, lost, wanted, tables);
            lost = 0;
        }
        for (int i = 0; i < k; i++)
            if (!shards[i])
                outputs[lost++] = rebuilt[i];
        isal->encode_data(shard_bytes, k, lost, tables, sources, outputs);
    }
    return (nanoseconds() - start) / rounds;
}
