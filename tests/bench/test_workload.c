/* Commands are read back with the product's own parser of requests. */
#include "bench/workload.h"
#include "net/resp.h"
#include "tests/test.h"

static struct tm_workload_spec spec_of(const char *mix)
{
    struct tm_workload_spec spec = {.value_bytes = 33, .keys = 50, .prefix = "Order", .seed = 3};
    char why[256];
    CU_ASSERT_EQUAL_FATAL(tm_load_mix_parse(&spec.mix, mix, why, sizeof why), TM_OK);
    return spec;
}

static unsigned parse(const uint8_t *data, size_t len, struct tm_bytes *argv)
{
    struct tm_resp_limits limits = {.max_args = 64, .max_arg_bytes = 1 << 20};
    struct tm_resp_parser p = {0};
    unsigned argc = 0;
    size_t used = 0;
    CU_ASSERT_EQUAL(tm_resp_parse(&p, &limits, data, len, argv, &argc, &used), TM_RESP_DONE);
    CU_ASSERT_EQUAL(used, len);
    return argc;
}

static void every_operation_is_one_well_formed_command(void)
{
    static const unsigned words[] = {
#define X(constant, name, letter, text) sizeof text,
        TM_LOAD_OP_LIST(X)
#undef X
    };
    for (unsigned op = 0; op < TM_LOAD_OP_COUNT; op++) {
        struct tm_workload_spec spec = spec_of(tm_load_op_name((enum tm_load_op)op));
        struct tm_workload *w = tm_workload_new(&spec);
        uint8_t *out = malloc(tm_workload_command_max(w));
        struct tm_bytes argv[64];
        char key[TM_LOAD_KEY_MAX];
        size_t len = tm_workload_encode(w, (enum tm_load_op)op, 42, out);
        unsigned argc = parse(out, len, argv);
        CU_ASSERT(len <= tm_workload_command_max(w) && argc >= 1 && argc < words[op]);
        CU_ASSERT_EQUAL(argv[0].len, strlen(tm_load_op_name((enum tm_load_op)op)));
        size_t key_len = tm_workload_key_text(w, (enum tm_load_op)op, 42, key);
        if (argc > 1)
            CU_ASSERT(tm_bytes_equal(argv[1], tm_bytes_of(key, key_len)));
        for (unsigned i = 0; i < argc; i++)
            CU_ASSERT_PTR_NULL(memchr(argv[i].data, 0, argv[i].len));
        free(out);
        tm_workload_free(w);
    }
}

static void a_set_has_the_key_and_a_value_of_the_size(void)
{
    struct tm_workload_spec spec = spec_of("set");
    struct tm_workload *w = tm_workload_new(&spec);
    uint8_t out[256];
    struct tm_bytes argv[64];
    CU_ASSERT_EQUAL(parse(out, tm_workload_encode(w, TM_LOAD_OP_SET, 7, out), argv), 3);
    CU_ASSERT(tm_bytes_equal(argv[1], tm_bytes_str("Order:s000000000007")));
    CU_ASSERT_EQUAL(argv[2].len, 33);
    tm_workload_free(w);
}

static void kinds_of_values_do_not_share_keys(void)
{
    struct tm_workload_spec spec = spec_of("set,incr,hset,sadd");
    struct tm_workload *w = tm_workload_new(&spec);
    const enum tm_load_op ops[] = {TM_LOAD_OP_SET, TM_LOAD_OP_INCR, TM_LOAD_OP_HSET,
                                   TM_LOAD_OP_SADD};
    char keys[4][TM_LOAD_KEY_MAX];
    for (unsigned i = 0; i < 4; i++) {
        size_t len = tm_workload_key_text(w, ops[i], 1, keys[i]);
        for (unsigned j = 0; j < i; j++)
            CU_ASSERT(memcmp(keys[i], keys[j], len) != 0);
    }
    tm_workload_free(w);
}

static void the_mix_has_its_weights(void)
{
    struct tm_workload_spec spec = spec_of("set:9,get:1");
    struct tm_workload *w = tm_workload_new(&spec);
    unsigned seen[TM_LOAD_OP_COUNT] = {0};
    for (unsigned i = 0; i < 10000; i++)
        seen[tm_workload_draw_op(w)]++;
    CU_ASSERT_EQUAL(seen[TM_LOAD_OP_SET] + seen[TM_LOAD_OP_GET], 10000);
    CU_ASSERT(seen[TM_LOAD_OP_SET] > 8800 && seen[TM_LOAD_OP_SET] < 9200);
    tm_workload_free(w);
}

static void sequential_keys_visit_each_once_a_round(void)
{
    struct tm_workload_spec spec = spec_of("set");
    spec.order = TM_KEYS_SEQUENTIAL;
    struct tm_workload *w = tm_workload_new(&spec);
    for (uint64_t i = 0; i < 120; i++)
        CU_ASSERT_EQUAL(tm_workload_draw_key(w), i % 50);
    tm_workload_free(w);
}

static void uniform_keys_reach_all_and_no_other(void)
{
    struct tm_workload_spec spec = spec_of("set");
    struct tm_workload *w = tm_workload_new(&spec);
    unsigned seen[50] = {0};
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t key = tm_workload_draw_key(w);
        CU_ASSERT_FATAL(key < 50);
        seen[key]++;
    }
    for (unsigned i = 0; i < 50; i++)
        CU_ASSERT(seen[i] > 40 && seen[i] < 180);
    tm_workload_free(w);
}

static void words_become_a_command(void)
{
    uint8_t out[64];
    struct tm_bytes argv[64];
    size_t len = tm_load_encode_words(" WAIT  1 0 ", out, sizeof out);
    CU_ASSERT_EQUAL(parse(out, len, argv), 3);
    CU_ASSERT(tm_bytes_equal(argv[0], tm_bytes_str("WAIT")));
    CU_ASSERT(tm_bytes_equal(argv[2], tm_bytes_str("0")));
    CU_ASSERT_EQUAL(tm_load_encode_words("WAIT 1 0", out, 10), 0);
    CU_ASSERT_EQUAL(tm_load_encode_words("  ", out, sizeof out), 0);
}

static void bad_mixes_are_refused(void)
{
    static const char *const bad[] = {"",        "foo",     "set:",   "set:0",   "set:x",
                                      "set,,",   "set,",    ",set",   "set:1x",  "set:1000001",
                                      "set get", "set,set", "set:-1", "get:1:2", "SET"};
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++) {
        struct tm_load_mix mix;
        char why[256] = "";
        CU_ASSERT_EQUAL(tm_load_mix_parse(&mix, bad[i], why, sizeof why), TM_ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "hset"));
    }
}

static const struct tm_test tests[] = {
    TM_TEST(every_operation_is_one_well_formed_command),
    TM_TEST(a_set_has_the_key_and_a_value_of_the_size),
    TM_TEST(kinds_of_values_do_not_share_keys),
    TM_TEST(the_mix_has_its_weights),
    TM_TEST(sequential_keys_visit_each_once_a_round),
    TM_TEST(uniform_keys_reach_all_and_no_other),
    TM_TEST(words_become_a_command),
    TM_TEST(bad_mixes_are_refused),
};
TM_TEST_MAIN("bench/workload", tests)
