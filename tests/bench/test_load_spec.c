#include "bench/load_spec.h"
#include "tests/test.h"

static struct tm_load_spec spec;
static char why[TM_LOAD_WHY_MAX];

#define PARSE(...) parse((char *[]){__VA_ARGS__}, (int)TM_ARRAY_LEN(((char *[]){__VA_ARGS__})))

static enum tm_err parse(char **argv, int argc)
{
    why[0] = 0;
    return tm_load_spec_parse(&spec, argc, argv, why);
}

static void defaults_stand_where_nothing_is_said(void)
{
    CU_ASSERT_EQUAL(PARSE("h:1"), TM_OK);
    CU_ASSERT_STRING_EQUAL(spec.address, "h:1");
    CU_ASSERT_EQUAL(spec.connections, 1);
    CU_ASSERT_EQUAL(spec.pipeline, 1);
    CU_ASSERT_EQUAL(spec.work.value_bytes, 256);
    CU_ASSERT_EQUAL(spec.work.order, TM_KEYS_UNIFORM);
    CU_ASSERT_EQUAL(spec.schedule.length_ns, TM_SECONDS(10));
    CU_ASSERT_EQUAL(spec.schedule.rate, 0);
    CU_ASSERT(!spec.json && !spec.cluster && spec.then[0] == 0 && spec.hdr == NULL);
}

static void all_options_are_read_in_both_forms(void)
{
    CU_ASSERT_EQUAL(PARSE("--op", "set:3,get", "h:1", "--size=10", "--keys", "7", "--zipf=0.9",
                          "--connections=5", "--pipeline", "4", "--seconds", "0.5", "--warmup=0",
                          "--then", "WAIT 1 0", "--then-per=2", "--cpu-of", "1,22", "--json",
                          "--hdr", "f", "--hiccups", "2", "--cluster", "--prefix=Order"),
                    TM_OK);
    CU_ASSERT_EQUAL(spec.work.mix.total, 4);
    CU_ASSERT_EQUAL(spec.work.value_bytes, 10);
    CU_ASSERT_EQUAL(spec.work.keys, 7);
    CU_ASSERT_EQUAL(spec.work.order, TM_KEYS_ZIPF);
    CU_ASSERT_DOUBLE_EQUAL(spec.work.zipf, 0.9, 1e-12);
    CU_ASSERT_EQUAL(spec.connections, 5);
    CU_ASSERT_EQUAL(spec.pipeline, 4);
    CU_ASSERT_EQUAL(spec.schedule.length_ns, TM_MS(500));
    CU_ASSERT_EQUAL(spec.schedule.warmup_ns, 0);
    CU_ASSERT_STRING_EQUAL(spec.then, "WAIT 1 0");
    CU_ASSERT_EQUAL(spec.then_per, 2);
    CU_ASSERT_EQUAL(spec.pid_count, 2);
    CU_ASSERT_EQUAL(spec.pids[1], 22);
    CU_ASSERT(spec.json && spec.cluster);
    CU_ASSERT_STRING_EQUAL(spec.hdr, "f");
    CU_ASSERT_EQUAL(spec.hiccup_ns, TM_SECONDS(2));
    CU_ASSERT_STRING_EQUAL(spec.work.prefix, "Order");
    CU_ASSERT_EQUAL(PARSE("h:1", "--sweep", "10,99.5"), TM_OK);
    CU_ASSERT_EQUAL(spec.sweep_count, 2);
    CU_ASSERT_DOUBLE_EQUAL(spec.sweep[1], 99.5, 1e-12);
}

#define REFUSED(word, ...)                                                                         \
    do {                                                                                           \
        CU_ASSERT(PARSE(__VA_ARGS__) != TM_OK);                                                    \
        CU_ASSERT_PTR_NOT_NULL(strstr(why, word));                                                 \
    } while (0)

static void bad_values_are_refused_by_name(void)
{
    REFUSED("address", "--json");
    REFUSED("one address", "a:1", "b:2");
    REFUSED("\"nope\" is no address", "nope");
    REFUSED("--wrong", "h:1", "--wrong", "1");
    REFUSED("no option -x", "h:1", "-x");
    REFUSED("--size", "h:1", "--size");
    REFUSED("--size", "h:1", "--size", "0");
    REFUSED("--size", "h:1", "--size", "-1");
    REFUSED("--size", "h:1", "--size", "12k");
    REFUSED("--connections", "h:1", "--connections=100001");
    REFUSED("--rate", "h:1", "--rate", "nan");
    REFUSED("--rate", "h:1", "--rate", "0");
    REFUSED("--seconds", "h:1", "--seconds", "1e9");
    REFUSED("--json", "h:1", "--json=1");
    REFUSED("--sweep", "h:1", "--sweep", "10,,20");
    REFUSED("--sweep", "h:1", "--sweep", "10,101");
    REFUSED("--cpu-of", "h:1", "--cpu-of", "x");
    REFUSED("--then", "h:1", "--then", "  ");
    REFUSED("--prefix", "h:1", "--prefix", "a:b");
    REFUSED("--hdr", "h:1", "--hdr=");
}

static void options_that_contradict_each_other_are_refused(void)
{
    REFUSED("--rate", "h:1", "--rate", "5", "--sweep", "10");
    REFUSED("--then-per", "h:1", "--then-per", "2", "--pipeline", "2");
    REFUSED("multiple", "h:1", "--then-per", "2", "--pipeline", "3", "--then", "WAIT 1 0");
    REFUSED("closed loop", "h:1", "--then-per", "2", "--pipeline", "2", "--then", "WAIT 1 0",
            "--rate", "5");
    REFUSED("--sequential", "h:1", "--sequential", "--cluster");
    REFUSED("mset", "h:1", "--op", "mset", "--cluster");
}

static void help_names_every_option_as_it_is_typed(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    tm_load_spec_help(f);
    fclose(f);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "--then-per N"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "--cpu-of PID"));
    CU_ASSERT_PTR_NULL(strchr(text, '_'));
    free(text);
}

static const struct tm_test tests[] = {
    TM_TEST(defaults_stand_where_nothing_is_said),
    TM_TEST(all_options_are_read_in_both_forms),
    TM_TEST(bad_values_are_refused_by_name),
    TM_TEST(options_that_contradict_each_other_are_refused),
    TM_TEST(help_names_every_option_as_it_is_typed),
};
TM_TEST_MAIN("bench/load_spec", tests)
