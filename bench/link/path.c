#include "path.h"

#include <string.h>

#define SECOND 1000000000.0

static uint64_t next(struct random *random) /* splitmix64 */
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double share(struct random *random) /* in [0, 1) */
{
    return (double)(next(random) >> 11) * 0x1p-53;
}

void path_start(struct path *path, uint64_t seed)
{
    struct random seeder = {seed};
    memset(path, 0, sizeof *path);
    path->losing.state = next(&seeder);
    path->delaying.state = next(&seeder);
    path->reordering.state = next(&seeder);
    path->doubling.state = next(&seeder);
}

void path_set(struct path *path, const struct path_settings *settings)
{
    path->settings = *settings;
    path->tokens = (double)settings->police_bytes;
}

/* Bursts of exactly n: one packet at least passes between two of them, or they would be one of 2n.
 * After it, a burst begins with probability q; a cycle has n lost and 1/q passed packets, so the
 * share lost is n / (n + 1/q). Geometric: Gilbert's two states, with the same stationary share. */
static int is_lost(struct path *path)
{
    const struct path_settings *is = &path->settings;
    double drawn;
    if (is->loss <= 0)
        return 0;
    drawn = share(&path->losing);
    if (is->loss >= 1)
        return 1;
    if (is->burst <= 1 && !is->geometric)
        return drawn < is->loss;
    if (is->geometric) {
        double stay = 1 - 1 / (double)is->burst;
        double enter = is->loss / ((double)is->burst * (1 - is->loss));
        path->was_in_burst = drawn < (path->was_in_burst ? stay : enter);
        return (int)path->was_in_burst;
    }
    if (path->burst_left) {
        path->burst_left--;
        path->was_in_burst = 1;
        return 1;
    }
    if (path->was_in_burst) {
        path->was_in_burst = 0;
        return 0;
    }
    if (drawn < is->loss / ((double)is->burst * (1 - is->loss))) {
        path->burst_left = is->burst - 1;
        path->was_in_burst = 1;
        return 1;
    }
    return 0;
}

static int is_policed(struct path *path, int64_t now_ns, int64_t bytes)
{
    const struct path_settings *is = &path->settings;
    if (!is->police_bps)
        return 0;
    path->tokens += (double)(now_ns - path->tokens_at_ns) * (double)is->police_bps / 8 / SECOND;
    path->tokens_at_ns = now_ns;
    if (path->tokens > (double)is->police_bytes)
        path->tokens = (double)is->police_bytes;
    if (path->tokens < (double)bytes)
        return 1;
    path->tokens -= (double)bytes;
    return 0;
}

void path_admit(struct path *path, int64_t now_ns, int64_t bytes, struct verdict *out)
{
    const struct path_settings *is = &path->settings;
    int64_t out_ns = now_ns;
    memset(out, 0, sizeof *out);
    if (is_policed(path, now_ns, bytes)) {
        out->fate = POLICED;
        return;
    }
    if (is->rate_bps) {
        int64_t wait_ns = path->busy_until_ns > now_ns ? path->busy_until_ns - now_ns : 0;
        double waiting = (double)wait_ns * (double)is->rate_bps / 8 / SECOND;
        if (waiting + (double)bytes > (double)is->queue_bytes && wait_ns) {
            out->fate = QUEUE_FULL;
            return;
        }
        out->mark = is->ce_bytes && waiting > (double)is->ce_bytes;
        out->queue_ns = wait_ns;
        path->busy_until_ns =
            now_ns + wait_ns + (int64_t)((double)bytes * 8 * SECOND / (double)is->rate_bps);
        out_ns = path->busy_until_ns;
    }
    if (is_lost(path)) {
        out->fate = LOST;
        return;
    }
    out->copies = 1;
    if (is->duplicate > 0 && share(&path->doubling) < is->duplicate)
        out->copies = 2;
    out_ns += is->delay_ns;
    if (is->jitter_ns)
        out_ns += (int64_t)(share(&path->delaying) * (double)is->jitter_ns);
    if (is->reorder > 0 && share(&path->reordering) < is->reorder) {
        out->late = 1;
        out->release_ns = out_ns + is->reorder_ns;
        return;
    }
    /* What is late may be overtaken; of the rest, nothing overtakes if order is kept. */
    if (is->keep_order && out_ns < path->last_release_ns)
        out_ns = path->last_release_ns;
    path->last_release_ns = out_ns;
    out->release_ns = out_ns;
}
