#include "runtime/histogram.h"
#include "runtime/rng.h"
#include "test.h"

#include <math.h>

static struct tm_histogram h, other, both;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void small_values_are_exact(void)
{
    tm_histogram_reset(&h);
    for (uint64_t v = 0; v < 256; v++)
        tm_histogram_add(&h, v, 1);
    for (unsigned v = 0; v < 256; v++)
        CU_ASSERT_EQUAL(tm_histogram_percentile(&h, 100.0 * (v + 1) / 256), v);
}

/* A value alone between two others is read back within 1/128, upwards. */
static void every_size_of_value_is_kept_within_one_percent(void)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    for (int i = 0; i < 2000; i++) {
        uint64_t v = tm_rng_next(&rng) >> tm_rng_below(&rng, 64);
        tm_histogram_reset(&h);
        tm_histogram_add(&h, v, 1);
        tm_histogram_add(&h, UINT64_MAX, 1);
        uint64_t back = tm_histogram_percentile(&h, 50);
        CU_ASSERT(back >= v && back - v <= v / 128);
        CU_ASSERT_EQUAL(tm_histogram_percentile(&h, 100), UINT64_MAX);
        CU_ASSERT_EQUAL(h.min, v);
    }
}

static void percentiles_are_those_of_the_sorted_values(void)
{
    enum { COUNT = 10000 };
    static uint64_t values[COUNT];
    static const double percentiles[] = {0, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    tm_histogram_reset(&h);
    for (int i = 0; i < COUNT; i++) {
        values[i] = 1000 + (tm_rng_next(&rng) >> (30 + tm_rng_below(&rng, 24)));
        tm_histogram_add(&h, values[i], 1);
    }
    qsort(values, COUNT, sizeof values[0], by_value);
    for (size_t i = 0; i < TM_ARRAY_LEN(percentiles); i++) {
        double rank = fmax(1, ceil(percentiles[i] / 100 * COUNT));
        uint64_t exact = values[(size_t)rank - 1];
        uint64_t got = tm_histogram_percentile(&h, percentiles[i]);
        CU_ASSERT(got >= exact && (double)(got - exact) <= (double)exact / 128);
    }
    CU_ASSERT_EQUAL(h.max, values[COUNT - 1]);
}

static void merging_is_as_if_all_had_been_counted_in_one(void)
{
    tm_histogram_reset(&h);
    tm_histogram_reset(&other);
    tm_histogram_reset(&both);
    for (uint64_t i = 1; i <= 1000; i++) {
        tm_histogram_add(i % 3 == 0 ? &h : &other, i * i, i % 5);
        tm_histogram_add(&both, i * i, i % 5);
    }
    tm_histogram_merge(&h, &other);
    CU_ASSERT_EQUAL(memcmp(&h, &both, sizeof h), 0);
    tm_histogram_reset(&other);
    tm_histogram_merge(&h, &other);
    CU_ASSERT_EQUAL(memcmp(&h, &both, sizeof h), 0);
    tm_histogram_merge(&other, &h);
    CU_ASSERT_EQUAL(memcmp(&other, &both, sizeof h), 0);
}

static void mean_and_deviation(void)
{
    tm_histogram_reset(&h);
    CU_ASSERT_EQUAL(tm_histogram_percentile(&h, 50), 0);
    CU_ASSERT_EQUAL(tm_histogram_mean(&h), 0);
    tm_histogram_add(&h, 100, 3);
    tm_histogram_add(&h, 200, 1);
    CU_ASSERT_EQUAL(tm_histogram_mean(&h), 125);
    CU_ASSERT(fabs(tm_histogram_deviation(&h) - 43.3012702) < 1e-6);
}

static void text_is_what_plotters_of_hdrhistogram_read(void)
{
    char *text = NULL;
    size_t size = 0;
    tm_histogram_reset(&h);
    for (uint64_t v = 1; v <= 100; v++)
        tm_histogram_add(&h, v, 1);
    FILE *out = open_memstream(&text, &size);
    tm_histogram_print(&h, out, 5, 1);
    fclose(out);
    CU_ASSERT_PTR_EQUAL(strstr(text, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"),
                        text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "      50.000 0.500000000000         50           2.00\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "      75.000 0.750000000000         75           4.00\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "     100.000 1.000000000000        100\n#[Mean    = "));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(text, "#[Max     =      100.000, Total count    =          100]\n"));
    double last = -1, value, percentile;
    unsigned lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] == '#' || sscanf(line, "%lf %lf", &value, &percentile) != 2)
            continue;
        CU_ASSERT(percentile > last && percentile <= 1);
        last = percentile;
        lines++;
    }
    CU_ASSERT(last == 1 && lines > 20 && lines < 60);
    free(text);
}

static const struct tm_test tests[] = {
    TM_TEST(small_values_are_exact),
    TM_TEST(every_size_of_value_is_kept_within_one_percent),
    TM_TEST(percentiles_are_those_of_the_sorted_values),
    TM_TEST(merging_is_as_if_all_had_been_counted_in_one),
    TM_TEST(mean_and_deviation),
    TM_TEST(text_is_what_plotters_of_hdrhistogram_read),
};
TM_TEST_MAIN("runtime/histogram", tests)
