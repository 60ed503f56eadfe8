#include "tally.h"

#include <inttypes.h>
#include <string.h>

static int bucket_of(uint64_t us)
{
    int octave, place;
    if (us < STEPS)
        return (int)us;
    octave = 63 - __builtin_clzll(us) - 6; /* STEPS is 2^6 */
    place = (octave + 1) * STEPS + (int)((us >> octave) - STEPS);
    return place < BUCKETS ? place : BUCKETS - 1;
}

static double middle_of(int bucket) /* in us */
{
    int octave = bucket / STEPS - 1;
    if (octave < 0)
        return bucket + 0.5;
    return ((double)(bucket % STEPS + STEPS) + 0.5) * (double)(1ull << octave);
}

void histogram_add(struct histogram *histogram, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    histogram->count++;
    histogram->sum_ns += value;
    if (value > histogram->max_ns)
        histogram->max_ns = value;
    histogram->buckets[bucket_of(value / 1000)]++;
}

static double percentile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)((double)histogram->count * share), seen = 0;
    for (int n = 0; n < BUCKETS; n++) {
        seen += histogram->buckets[n];
        /* A value of less than a microsecond is none: an empty queue is one of 0. */
        if (seen > wanted)
            return n ? middle_of(n) : 0;
    }
    return (double)histogram->max_ns / 1000;
}

struct flow *tally_flow(struct tally *tally, const uint8_t *packet, int64_t bytes)
{
    int64_t head = (packet[0] & 15) * 4;
    uint8_t protocol = packet[9];
    uint16_t source = 0, target = 0;
    int is_first = !((packet[6] & 0x1f) | packet[7]);
    if ((protocol == 6 || protocol == 17) && is_first && bytes >= head + 4) {
        source = (uint16_t)(packet[head] << 8 | packet[head + 1]);
        target = (uint16_t)(packet[head + 2] << 8 | packet[head + 3]);
    }
    for (int n = 0; n < tally->flow_count; n++) {
        struct flow *flow = &tally->flows[n];
        if (flow->protocol == protocol && flow->source == source && flow->target == target)
            return flow;
    }
    if (tally->flow_count == FLOWS) {
        tally->unfollowed++;
        return NULL;
    }
    struct flow *flow = &tally->flows[tally->flow_count++];
    memset(flow, 0, sizeof *flow);
    flow->protocol = protocol;
    flow->source = source;
    flow->target = target;
    return flow;
}

void tally_packet(struct counts *counts, int64_t now_ns, int64_t bytes, const struct verdict *seen)
{
    if (!counts->packets++)
        counts->first_ns = now_ns;
    counts->last_ns = now_ns;
    counts->bytes += (uint64_t)bytes;
    if ((uint64_t)bytes > counts->largest)
        counts->largest = (uint64_t)bytes;
    switch (seen->fate) {
    case QUEUE_FULL:
        counts->queue_full++;
        return;
    case POLICED:
        counts->policed++;
        return;
    case LOST:
        counts->lost++;
        break;
    default:
        counts->delivered_packets += (uint64_t)seen->copies;
        counts->delivered_bytes += (uint64_t)(bytes * seen->copies);
        counts->doubled += seen->copies > 1;
        counts->late += seen->late != 0;
    }
    counts->marked += seen->mark != 0;
    histogram_add(&counts->queue, seen->queue_ns);
}

static void print_histogram(const struct histogram *histogram, FILE *to)
{
    double mean = histogram->count ? (double)histogram->sum_ns / (double)histogram->count : 0;
    fprintf(to,
            "{\"count\":%" PRIu64 ",\"mean_us\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,"
            "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}",
            histogram->count, mean / 1000, percentile(histogram, 0.5), percentile(histogram, 0.9),
            percentile(histogram, 0.99), percentile(histogram, 0.999),
            (double)histogram->max_ns / 1000);
}

static void print_counts(const struct counts *counts, FILE *to)
{
    fprintf(to,
            "\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"delivered_packets\":%" PRIu64
            ",\"delivered_bytes\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"queue_full\":%" PRIu64
            ",\"policed\":%" PRIu64 ",\"marked\":%" PRIu64 ",\"late\":%" PRIu64
            ",\"doubled\":%" PRIu64 ",\"largest\":%" PRIu64 ",\"first_ns\":%" PRId64
            ",\"last_ns\":%" PRId64 ",\"queue\":",
            counts->packets, counts->bytes, counts->delivered_packets, counts->delivered_bytes,
            counts->lost, counts->queue_full, counts->policed, counts->marked, counts->late,
            counts->doubled, counts->largest, counts->first_ns, counts->last_ns);
    print_histogram(&counts->queue, to);
}

void tally_print(const struct tally *tally, FILE *to)
{
    fputc('{', to);
    print_counts(&tally->all, to);
    fprintf(to,
            ",\"unfollowed\":%" PRIu64 ",\"not_ipv4\":%" PRIu64 ",\"overflow\":%" PRIu64
            ",\"refused\":%" PRIu64 ",\"lateness\":",
            tally->unfollowed, tally->not_ipv4, tally->overflow, tally->refused);
    print_histogram(&tally->lateness, to);
    fputs(",\"flows\":[", to);
    for (int n = 0; n < tally->flow_count; n++) {
        const struct flow *flow = &tally->flows[n];
        fprintf(to, "%s{\"protocol\":%d,\"source\":%d,\"target\":%d,", n ? "," : "", flow->protocol,
                flow->source, flow->target);
        print_counts(&flow->counts, to);
        fputc('}', to);
    }
    fputs("]}", to);
}
