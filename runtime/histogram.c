#include "runtime/histogram.h"

#include <math.h>

enum { SUB = 1 << TM_HISTOGRAM_SUB_BITS };

/* Values below 2 * SUB have a bucket each; above, the SUB_BITS bits after the leading one choose
 * it. */
static unsigned bucket_of(uint64_t value)
{
    if (value < SUB)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - TM_HISTOGRAM_SUB_BITS;
    return (shift << TM_HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

static uint64_t bucket_low(unsigned bucket)
{
    if (bucket < 2 * SUB)
        return bucket;
    unsigned shift = (bucket >> TM_HISTOGRAM_SUB_BITS) - 1;
    return (uint64_t)(bucket - (shift << TM_HISTOGRAM_SUB_BITS)) << shift;
}

static uint64_t bucket_high(unsigned bucket)
{
    return bucket + 1 < TM_HISTOGRAM_BUCKETS ? bucket_low(bucket + 1) - 1 : UINT64_MAX;
}

void tm_histogram_reset(struct tm_histogram *h)
{
    memset(h, 0, sizeof *h);
}

void tm_histogram_add(struct tm_histogram *h, uint64_t value, uint64_t times)
{
    if (times == 0)
        return;
    h->min = h->total == 0 ? value : tm_min_u64(h->min, value);
    h->max = tm_max_u64(h->max, value);
    h->total += times;
    h->sum += (double)value * (double)times;
    h->counts[bucket_of(value)] += times;
}

void tm_histogram_merge(struct tm_histogram *to, const struct tm_histogram *from)
{
    if (from->total == 0)
        return;
    to->min = to->total == 0 ? from->min : tm_min_u64(to->min, from->min);
    to->max = tm_max_u64(to->max, from->max);
    to->total += from->total;
    to->sum += from->sum;
    for (unsigned i = 0; i < TM_HISTOGRAM_BUCKETS; i++)
        to->counts[i] += from->counts[i];
}

/* How many of all a percentile asks for: at least one, so that 0 % is the smallest value. */
static uint64_t rank_of(const struct tm_histogram *h, double percentile)
{
    double rank = ceil(fmin(fmax(percentile, 0), 100) / 100 * (double)h->total);
    return rank < 1 ? 1 : tm_min_u64((uint64_t)rank, h->total);
}

uint64_t tm_histogram_percentile(const struct tm_histogram *h, double percentile)
{
    if (h->total == 0)
        return 0;
    uint64_t rank = rank_of(h, percentile), seen = 0;
    unsigned i = 0;
    while ((seen += h->counts[i]) < rank)
        i++;
    return tm_min_u64(bucket_high(i), h->max);
}

double tm_histogram_mean(const struct tm_histogram *h)
{
    return h->total == 0 ? 0 : h->sum / (double)h->total;
}

double tm_histogram_deviation(const struct tm_histogram *h)
{
    if (h->total == 0)
        return 0;
    double mean = tm_histogram_mean(h), squares = 0;
    for (unsigned i = 0; i < TM_HISTOGRAM_BUCKETS; i++) {
        if (h->counts[i] == 0)
            continue;
        double low = (double)bucket_low(i), high = (double)bucket_high(i);
        double off = (low + high) / 2 - mean;
        squares += off * off * (double)h->counts[i];
    }
    return sqrt(squares / (double)h->total);
}

/* How many counted values are not above `value`'s bucket. */
static uint64_t count_up_to(const struct tm_histogram *h, uint64_t value)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i <= bucket_of(value); i++)
        seen += h->counts[i];
    return seen;
}

static void print_line(const struct tm_histogram *h, FILE *out, double percentile, double unit)
{
    uint64_t value = tm_histogram_percentile(h, percentile);
    uint64_t count = count_up_to(h, value);
    fprintf(out, "%12.3f %2.12f %10llu", (double)value / unit, percentile / 100,
            (unsigned long long)count);
    if (percentile < 100)
        fprintf(out, " %14.2f", 1 / (1 - percentile / 100));
    fputc('\n', out);
}

void tm_histogram_print(const struct tm_histogram *h, FILE *out, unsigned ticks, double unit)
{
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    double percentile = 0, step = 100.0 / (2.0 * ticks);
    /* Each half of the way to 100 % is cut into `ticks`, until less than one value is beyond. */
    for (unsigned n = 0; h->total > 0 && rank_of(h, percentile) < h->total; n++) {
        if (n > 0 && n % ticks == 0)
            step /= 2;
        print_line(h, out, percentile, unit);
        percentile += step;
    }
    if (h->total > 0)
        print_line(h, out, 100, unit);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", tm_histogram_mean(h) / unit,
            tm_histogram_deviation(h) / unit);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)h->max / unit,
            (unsigned long long)h->total);
    fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", 64 - TM_HISTOGRAM_SUB_BITS + 1, SUB);
}
